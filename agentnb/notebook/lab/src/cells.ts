/** The notebook's cells as the kernel is told of them: all in order, each text once. */

import type { INotebookModel } from '@jupyterlab/notebook';
import type { ICodeCellModel } from '@jupyterlab/cells';

import { CellLine, MOST_TEXT, Texts, ToKernel } from './protocol';
import { sha256 } from './sha256';

export class Cells {
  /** Digests of the texts that the kernel holds. */
  private _told = new Set<string>();
  /** Each cell's text and digest, so that only changed texts are digested. */
  private _known = new Map<string, { source: string; digest: string }>();

  constructor(private _model: () => INotebookModel | null) {}

  /** A new comm: the kernel holds nothing. */
  reset(): void {
    this._told.clear();
  }

  /** Ids, kinds, numbers and digests, in order. */
  order(): CellLine[] {
    const cells = [...(this._model()?.cells ?? [])];
    const known = new Map(cells.map(cell => [cell.id, this._digested(cell.id, cell.sharedModel.getSource())]));
    this._known = known;
    return cells.map(cell => ({
      id: cell.id,
      kind: cell.type,
      count: cell.type === 'code' ? (cell as ICodeCellModel).executionCount : null,
      digest: known.get(cell.id)!.digest
    }));
  }

  /** What the kernel does not know yet; texts beyond the limit are left out. */
  message(asking: string | null): ToKernel {
    const order = this.order();
    const [texts, told]: [Texts, Set<string>] = [{}, new Set()];
    let room = MOST_TEXT;
    for (const { id, digest } of order) {
      const { source } = this._known.get(id)!;
      const size = new TextEncoder().encode(source).length;
      if (told.has(digest) || size > room) {
        continue;
      }
      room -= size;
      told.add(digest);
      if (!this._told.has(digest)) {
        texts[digest] = source;
      }
    }
    this._told = told;
    return { type: 'cells', asking, order, texts };
  }

  private _digested(id: string, source: string): { source: string; digest: string } {
    const known = this._known.get(id);
    return known?.source === source ? known : { source, digest: sha256(source) };
  }
}
