/** Cells that begin with %%agent hold a task in words: they are highlighted as Markdown, and their long lines wrap. */

import type { Cell } from '@jupyterlab/cells';
import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import type { Notebook } from '@jupyterlab/notebook';

const TASK = /^%%agent(\s|$)/;
const PROSE = 'text/x-ipythongfm';

/** Follow a cell's text from now on. */
export function watchProse(notebook: Notebook, cell: Cell, languages: IEditorLanguageRegistry): void {
  const { model } = cell;
  const isTask = () => TASK.test(model.sharedModel.getSource());
  const wanted = () => (isTask() ? PROSE : notebook.codeMimetype);
  const settle = () => {
    if (isTask() !== cell.hasClass('agentnb-prose')) {
      cell.toggleClass('agentnb-prose', isTask());
      cell.updateEditorConfig({ ...cell.editorConfig, lineWrap: isTask() || notebook.editorConfig.code.lineWrap });
    }
    if (model.mimeType !== wanted()) {
      // An editor takes whichever language was loaded last: the present one first.
      void languages.getLanguage(model.mimeType).then(() => {
        if (!model.isDisposed) {
          model.mimeType = wanted();
        }
      });
    }
  };
  if (model.type === 'code') {
    settle();
    model.contentChanged.connect(settle);
    model.mimeTypeChanged.connect(settle); // the notebook sets every cell's when the kernel tells its language
  }
}
