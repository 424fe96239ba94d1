/** Where our own rows stand in a cell. */

import type { Cell } from '@jupyterlab/cells';
import type { PanelLayout, Widget } from '@lumino/widgets';

/** Right below the cell's text. */
export function belowInput(cell: Cell, widget: Widget): void {
  insert(cell, widget, layout => {
    const row = layout.widgets.findIndex(each => each === cell.inputArea || each.contains(cell.inputArea!));
    return row + 1;
  });
}

/** Below the cell's outputs. */
export function belowOutputs(cell: Cell, widget: Widget): void {
  insert(cell, widget, layout => layout.widgets.length - 1); // the last is the footer
}

function insert(cell: Cell, widget: Widget, place: (layout: PanelLayout) => number): void {
  void cell.ready.then(() => {
    if (!cell.isDisposed && !widget.isDisposed) {
      const layout = cell.layout as PanelLayout;
      layout.insertWidget(place(layout), widget);
    }
  });
}
