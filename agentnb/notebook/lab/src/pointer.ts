/** A row below the cell that asked: it leads to the cell where a proposed change waits. */

import type { Cell, ICodeCellModel } from '@jupyterlab/cells';
import { Widget } from '@lumino/widgets';

import { apart, button } from './dom';

export function pointer(to: Cell, go: () => void): Widget {
  const number = to.model.type === 'code' ? (to.model as ICodeCellModel).executionCount : null;
  const row = new Widget();
  row.addClass('agentnb-row');
  apart(row.node);
  row.node.append(button(number === null ? 'Go to the proposed change' : `Go to the change of cell ${number}`, go));
  return row;
}
