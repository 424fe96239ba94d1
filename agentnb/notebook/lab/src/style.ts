/** How our rows look. Removed and added lines differ by sign, by line and by colour. */

export const STYLE = `
.agentnb-row, .agentnb-buttons { display: flex; gap: 8px; }
.agentnb-row { padding: 4px 0 4px calc(var(--jp-cell-prompt-width) + var(--jp-cell-collapser-width)); }
.agentnb-proposal {
  margin: 6px 0 6px calc(var(--jp-cell-prompt-width) + var(--jp-cell-collapser-width));
  padding: 8px 12px;
  border: 1px solid var(--jp-border-color1);
  border-left: 4px solid var(--jp-brand-color1);
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font-size: var(--jp-ui-font-size1);
}
@media (width <= 760px) { /* there a cell's number stands above it, and not at its side */
  .agentnb-row { padding-left: var(--jp-cell-collapser-width); }
  .agentnb-proposal { margin-left: var(--jp-cell-collapser-width); }
}
.jp-Cell:has(.agentnb-proposal) .agentnb-offered { display: none; }
.agentnb-heading, .agentnb-note { margin: 0 0 6px 0; }
.agentnb-note:empty { display: none; }
.agentnb-note { margin-top: 6px; font-weight: 600; }
.agentnb-buttons { margin-top: 8px; }
.agentnb-button {
  min-width: 6em;
  padding: 4px 12px;
  border: 1px solid var(--jp-border-color1);
  border-radius: 2px;
  background: var(--jp-layout-color2);
  color: var(--jp-ui-font-color1);
  font: inherit;
  cursor: pointer;
}
.agentnb-button:hover:not(:disabled) { background: var(--jp-layout-color3); }
.agentnb-button:disabled { color: var(--jp-ui-font-color3); cursor: default; }
.agentnb-button:focus-visible, .agentnb-diff:focus-visible { outline: 2px solid #3f7fd0; outline-offset: 1px; }
.agentnb-diff {
  max-height: 24em;
  overflow: auto;
  border: 1px solid var(--jp-border-color2);
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  line-height: var(--jp-code-line-height);
}
.agentnb-line { display: flex; white-space: pre-wrap; min-width: 0; }
.agentnb-line > ins, .agentnb-line > del { text-decoration: none; }
.agentnb-line > :last-child { overflow-wrap: anywhere; }
.agentnb-sign { flex: 0 0 2em; text-align: center; font-weight: 700; user-select: none; }
.agentnb-added { background: rgba(46, 160, 67, 0.28); }
.agentnb-removed { background: rgba(218, 60, 60, 0.28); }
.agentnb-gap { padding-left: 0.5em; color: var(--jp-ui-font-color2); user-select: none; }
.agentnb-answer .agentnb-sent { margin: 2px 0; animation: agentnb-appear 0s 0.25s both; }
@keyframes agentnb-appear { from { visibility: hidden; } }
.agentnb-answer:focus-within::after {
  content: 'Enter presses the button, Escape denies.';
  color: var(--jp-ui-font-color2);
  font-size: var(--jp-ui-font-size1);
}
.agentnb-answer:has(.agentnb-sent)::after, .agentnb-answer:has(textarea)::after { content: none; }
.agentnb-code-frame { position: relative; }
.agentnb-code-tools {
  position: absolute;
  z-index: 1;
  top: 3px;
  right: 3px;
  display: flex;
  gap: 4px;
  align-items: center;
  opacity: 0;
}
.agentnb-code-frame:hover > .agentnb-code-tools, .agentnb-code-tools:focus-within,
.agentnb-code-tools:has(.agentnb-code-note:not(:empty)) { opacity: 1; }
@media (hover: none) { .agentnb-code-tools { opacity: 1; } }
.agentnb-code-tools .agentnb-button { min-width: 0; padding: 1px 8px; font-size: var(--jp-ui-font-size0); }
.jp-Notebook:not(.agentnb-linked) .agentnb-code-tools .agentnb-button:not(:nth-child(2)) { display: none; }
.agentnb-code-note {
  padding: 1px 6px;
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font-size: var(--jp-ui-font-size0);
}
.agentnb-more { margin: 4px 0; }
.agentnb-more .agentnb-button { padding: 2px 10px; font-size: var(--jp-ui-font-size1); }
.jp-Notebook:not(.agentnb-linked) .agentnb-more { display: none; }
.agentnb-code-note:empty { display: none; }
`;
