/** A button below a cell that runs cells: those that it points at and that have not run, or itself, to ask again. */

import type { Cell } from '@jupyterlab/cells';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { Widget } from '@lumino/widgets';

import { apart, button } from './dom';
import { belowOutputs } from './mount';
import type { Offer } from './protocol';

export class Offers {
  private _shown = new Map<Cell, Widget>();

  /** `again` tells the kernel, before the cell runs, that it is to ask although it keeps an answer. */
  constructor(
    private _panel: NotebookPanel,
    private _again: (cell: string) => void
  ) {}

  show({ cell, run }: Offer): void {
    const { widgets } = this._panel.content;
    const below = widgets.find(each => each.model.id === cell);
    const wanted = widgets.filter(each => run.includes(each.model.id));
    if (!below || wanted.length === 0) {
      return;
    }
    this.drop(below);
    const row = new Widget();
    row.addClass('agentnb-row');
    apart(row.node);
    const above = wanted.length === 1 ? 'Run the cell above' : `Run the ${wanted.length} cells above`;
    const words = wanted.includes(below) ? 'Ask again' : above;
    row.node.append(button(words, () => this._run(below, wanted)));
    this._shown.set(below, row);
    belowOutputs(below, row);
  }

  /** The cell runs again, or what was offered is done. */
  drop(cell: Cell): void {
    this._shown.get(cell)?.dispose();
    this._shown.delete(cell);
  }

  private _run(below: Cell, cells: Cell[]): void {
    this.drop(below);
    const { content: notebook, sessionContext } = this._panel;
    const there = cells.filter(each => !each.isDisposed);
    if (there.includes(below)) {
      this._again(below.model.id);
    }
    void NotebookActions.runCells(notebook, there, sessionContext);
  }
}
