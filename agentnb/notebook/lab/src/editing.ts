/** Putting text into the notebook, each time as one step that the notebook's own undo takes back. */

import type { Cell } from '@jupyterlab/cells';
import type { Notebook } from '@jupyterlab/notebook';

import type { Mark } from './protocol';

/** A new cell below another; its id. */
export function insertBelow(notebook: Notebook, above: Cell, kind: 'code' | 'markdown', source: string, mark: Mark): string {
  const shared = notebook.model!.sharedModel;
  const metadata = { agentnb: { ...mark, accepted: true }, ...(kind === 'code' ? { trusted: true } : {}) };
  const index = notebook.widgets.indexOf(above) + 1;
  let id = '';
  inOneStep(shared, () => {
    id = shared.insertCell(index, { cell_type: kind, source, metadata }).getId();
  });
  return id;
}

/** Another text in the place of a cell's own. */
export function replace(cell: Cell, source: string, mark: Mark): void {
  const shared = cell.model.sharedModel;
  inOneStep(shared, () => {
    shared.setSource(source);
    shared.setMetadata('agentnb', { ...mark, accepted: true });
  });
}

/** What was done just before, and just after, is a step of its own. */
function inOneStep(shared: { transact(change: () => void): void }, change: () => void): void {
  const { undoManager } = shared as { undoManager?: { stopCapturing(): void } | null };
  undoManager?.stopCapturing();
  shared.transact(change);
  undoManager?.stopCapturing();
}
