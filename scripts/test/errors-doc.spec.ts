import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { errorsDoc, renderErrorsDoc } from '../errors-doc.js'

const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))))

describe('docs/ERRORS.md', () => {
  it('is what the registry makes of it; else run "npm run docs:errors"', () => {
    const { wanted, found } = errorsDoc(root)
    expect(found).to.equal(wanted)
  })

  it('has a row and a paragraph for each error', () => {
    const page = renderErrorsDoc({
      ERR_X: { number: -7, retryable: true, summary: 'It broke', doc: 'Mend it.' },
    })
    expect(page).to.include('| [`ERR_X`](#err_x) | -7 | yes | It broke |')
    expect(page).to.include('### `ERR_X`\n\n**It broke.** Mend it.\n')
  })
})
