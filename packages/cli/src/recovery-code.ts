/** The one moment at which the recovery code can be written down. */
import type { Context } from "./context.ts";
import { printable } from "./printable.ts";
import { askYesNo, canAsk } from "./questions.ts";

/** Its lines for people, with what it is for. */
export function recoveryCodeLines(context: Context, recoveryCode: string): string[] {
  return [
    "Your recovery code, shown this once:",
    "",
    `    ${context.output.style("bold", printable(recoveryCode))}`,
    "",
    "It is the only way back into the account if you forget the password: the server",
    "knows neither and cannot reset anything. Keep it on paper or in a password manager.",
    "Without both, the account and its whole history are gone, for you and everybody.",
  ];
}

/** Asks until it is written down, or three times. */
export async function confirmWrittenDown(context: Context): Promise<void> {
  const { environment } = context;
  if (!canAsk(environment)) return;
  for (let asked = 0; asked < 3; asked++) {
    if (await askYesNo(environment, "Have you written it down?")) return;
  }
  environment.stderr.write(
    "Going on. While it is still on this screen you can write it down; afterwards it is gone.\n",
  );
}
