// What is printed and where. On a terminal the last lines are redrawn in place, each overwritten and then cleared to its
// end, in one write: that does not flicker. Elsewhere every line is printed once and stays.
import { stripVTControlCharacters } from 'node:util';

const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';
const CLEAR_LINE_END = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';

/** Where the demo prints. */
export interface Screen {
  /** Whether lines can be redrawn. */
  readonly isLive: boolean;
  /** Prints a line that stays, above the redrawn ones. */
  line(text: string): void;
  /** Replaces the redrawn lines; nothing happens where lines cannot be redrawn. */
  redraw(lines: readonly string[]): void;
  /** Removes the redrawn lines and gives the cursor back. */
  close(): void;
}

/** A screen on `stream`. */
export function createScreen(stream: NodeJS.WriteStream): Screen {
  const isLive = stream.isTTY && process.env['TERM'] !== 'dumb' && process.env['CI'] === undefined;
  let drawn = 0;

  /** The cursor stands below the redrawn lines; this moves it to the first of them. */
  const toTop = () => (drawn === 0 ? '' : `\x1b[${drawn}A\r`);

  const clear = () => {
    if (drawn > 0) stream.write(`${toTop()}${CLEAR_BELOW}${SHOW_CURSOR}`);
    drawn = 0;
  };

  return {
    isLive,
    line(text) {
      clear();
      stream.write(`${text}\n`);
    },
    redraw(lines) {
      if (!isLive) return;
      // More lines than the window has could not be reached again by moving up.
      const fitting = lines.slice(0, Math.max(1, stream.rows - 1)).map((text) => fit(text, stream.columns));
      const body = fitting.map((text) => `${text}${CLEAR_LINE_END}\n`).join('');
      stream.write(`${HIDE_CURSOR}${toTop()}${body}${CLEAR_BELOW}`);
      drawn = fitting.length;
    },
    close: clear,
  };
}

/** A line that wraps would count as two when it is redrawn. */
function fit(text: string, columns: number): string {
  const plain = stripVTControlCharacters(text);
  return plain.length < columns ? text : `${plain.slice(0, Math.max(0, columns - 2))}…`;
}
