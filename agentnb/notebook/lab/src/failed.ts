/** "Explain" and "Fix" below a cell that failed: each puts a line below the cell and runs it, by a person's click. */

import type { Cell, ICodeCellModel } from '@jupyterlab/cells';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { Widget } from '@lumino/widgets';

import { apart, button } from './dom';
import type { Link } from './link';
import { belowOutputs } from './mount';

const LINES = { Explain: '%agent Explain the error above.', Fix: '%agent --fix' };
const OURS = /^\s*%%?agent/;

/** Show the row while the cell's outputs hold an error and the kernel has the extension. */
export function watchFailure(panel: NotebookPanel, cell: Cell, link: Link): void {
  if (cell.model.type !== 'code') {
    return;
  }
  const { outputs, sharedModel } = cell.model as ICodeCellModel;
  let row: Widget | null = null;
  const settle = () => {
    const failed = outputs.toJSON().some(output => output.output_type === 'error');
    const wanted = failed && link.isOpen && !OURS.test(sharedModel.getSource());
    if (wanted && row === null) {
      row = failureRow(panel, cell);
      belowOutputs(cell, row);
    } else if (!wanted && row !== null) {
      row.dispose();
      row = null;
    }
  };
  settle();
  outputs.changed.connect(settle);
  link.changed.connect(settle);
  cell.disposed.connect(() => {
    outputs.changed.disconnect(settle);
    link.changed.disconnect(settle);
  });
}

function failureRow(panel: NotebookPanel, cell: Cell): Widget {
  const row = new Widget();
  row.addClass('agentnb-row');
  apart(row.node);
  for (const [words, line] of Object.entries(LINES)) {
    const node = button(words, () => runBelow(panel, cell, line));
    node.title = `Puts "${line}" below this cell and runs it`;
    row.node.append(node);
  }
  return row;
}

/** Put a line below the cell, as a cell of its own, and run it. */
function runBelow(panel: NotebookPanel, cell: Cell, line: string): void {
  const { content: notebook, sessionContext } = panel;
  notebook.activeCellIndex = notebook.widgets.indexOf(cell);
  notebook.deselectAll();
  NotebookActions.insertBelow(notebook);
  notebook.activeCell?.model.sharedModel.setSource(line);
  void NotebookActions.run(notebook, sessionContext);
}
