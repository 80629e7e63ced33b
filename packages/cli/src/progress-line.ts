/** How far something is, on standard error: on a terminal one line that is rewritten, elsewhere a line every few seconds, with --quiet nothing. */
import type { Context } from "./context.ts";
import { printable } from "./printable.ts";

const lineEveryMs = 3_000;
const clearLine = "\r\x1b[K";

export class ProgressLine {
  readonly #context: Context;
  readonly #rewrites: boolean;
  #shownAtMs: number;
  #isShown = false;

  /** @param options.isOftenQuick the first line comes after some seconds too: what is quick needs none */
  constructor(context: Context, { isOftenQuick = false } = {}) {
    const { stderr, variables } = context.environment;
    this.#context = context;
    this.#shownAtMs = isOftenQuick ? context.environment.now() : Number.NEGATIVE_INFINITY;
    this.#rewrites = stderr.isTTY === true && variables["TERM"] !== "dumb";
  }

  show(text: string): void {
    const { environment, output, quiet } = this.#context;
    if (quiet) return;
    if (this.#rewrites) {
      environment.stderr.write(clearLine + printable(text).slice(0, (environment.stderr.columns || 80) - 1));
      this.#isShown = true;
    } else if (environment.now() - this.#shownAtMs >= lineEveryMs) {
      this.#shownAtMs = environment.now();
      output.note(text);
    }
  }

  end(): void {
    if (this.#isShown) this.#context.environment.stderr.write(clearLine);
    this.#isShown = false;
  }
}
