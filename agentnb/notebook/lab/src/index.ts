/** The plugin: one `Side` for each notebook that is opened. JupyterLab 4 and Notebook 7 load the same. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { INotebookTracker } from '@jupyterlab/notebook';

import { element } from './dom';
import { Side } from './side';
import { STYLE } from './style';

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'agentnb-jupyter:plugin',
  description: 'Cells, differences and outputs of agentnb.',
  autoStart: true,
  requires: [INotebookTracker, IEditorLanguageRegistry],
  activate: (_app: JupyterFrontEnd, tracker: INotebookTracker, languages: IEditorLanguageRegistry) => {
    document.head.append(element('style', {}, STYLE));
    tracker.widgetAdded.connect((_, panel) => {
      void panel.context.ready.then(() => new Side(panel, languages));
    });
  }
};

export default plugin;
