import type { Workspace } from './workspace.js'

/** One habit of the house: its name, and a sentence for each place that does not keep it. */
export interface Rule {
  readonly title: string
  readonly check: (workspace: Workspace) => string[]
}
