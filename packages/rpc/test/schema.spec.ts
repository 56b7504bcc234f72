import { expect } from 'chai'
import { checkSchema, defineMethod, schemaError, Type } from '@mooncake-ts/rpc'
import { failure } from './support.js'

const METHOD = defineMethod('Test.Method', {
  request: Type.Object({
    keys: Type.Array(Type.String()),
    limit: Type.Optional(Type.Integer({ minimum: 1 })),
  }),
  response: Type.Object({ found: Type.Array(Type.Boolean()) }),
  deadlineMs: 50,
})

describe('schemas', () => {
  it('give a fitting value back as it is', () => {
    const request = { keys: ['a'] }
    expect(METHOD.parseRequest(request)).to.equal(request)
    expect(METHOD.deadlineMs).to.equal(50)
  })

  it('name the path of the field, and what was wanted', async () => {
    const error = await failure(() => METHOD.parseRequest({ keys: ['a', 'b', 'c', 4] }))
    expect(error.code).to.equal('ERR_INVALID_PARAMS')
    expect(error.message).to.equal('Request of Test.Method: keys/3: expected string')
  })

  it('say which response is wrong', async () => {
    const error = await failure(() => METHOD.parseResponse({ found: [1] }))
    expect(error.message).to.equal('Response of Test.Method: found/0: expected boolean')
  })

  it('let unknown fields and undefined optional ones pass', () => {
    METHOD.parseRequest({ keys: [], added_in_the_next_version: 1 })
    METHOD.parseRequest({ keys: [], limit: undefined })
  })

  const mode = Type.Union([Type.Literal('P2P'), Type.Literal('Centralization')])
  for (const [value, sentence] of [
    [undefined, 'expected object'],
    [{}, 'mode: is required'],
    [{ mode: 'p2p' }, 'mode: expected one of "P2P", "Centralization"'],
  ] as const) {
    it(`describe ${JSON.stringify(value)} as '${sentence}'`, () => {
      expect(schemaError(Type.Object({ mode }), value)).to.equal(sentence)
    })
  }

  it('check configuration with a sentence and a code of the caller', async () => {
    const error = await failure(() => {
      checkSchema(
        Type.Object({ port: Type.Integer({ maximum: 65_535 }) }),
        { port: 70_000 },
        'cluster.yaml',
        'ERR_CONFIG',
      )
    })
    expect(error.code).to.equal('ERR_CONFIG')
    expect(error.message).to.match(/^cluster\.yaml: port: expected integer to be less or equal to 65535/)
  })
})
