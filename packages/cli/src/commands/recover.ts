/**
 * `sotto recover NAME`: a new password by the recovery code, on a new device in an empty home folder. Whoever lost the password may
 * have lost a device too, so the other devices are removed unless they are to be kept.
 */
import type { Client } from "@sotto/client";
import { arrive } from "../arrival.ts";
import { type Context, withHome } from "../context.ts";
import { CommandError, isClientError } from "../errors.ts";
import { confirmServer } from "../first-contact.ts";
import { accountOf } from "../home-account.ts";
import { readText } from "../input.ts";
import { withNewPassword } from "../passwords.ts";
import { person } from "../people.ts";
import { askLine, canAsk } from "../questions.ts";

interface RecoverOptions {
  server: string;
  code?: string;
  keepDevices?: boolean;
  fingerprint?: string;
  passwordFile?: string;
}

export async function recover(context: Context, name: string, options: RecoverOptions): Promise<void> {
  await withHome(context, async (client) => {
    const bareName = name.replace(/^@/, "");
    await requireEmpty(client, bareName);
    const code = await readCode(context, options.code);
    const { server, fingerprint } = await confirmServer(context, options);
    const keepDevices = options.keepDevices === true;
    const self = await withNewPassword(context, person(bareName), options, (newPassword) =>
      withCode(context, code, options, (spelled) =>
        client.recover({ name: bareName, server, fingerprint, code: spelled, newPassword, keepDevices }),
      ),
    );
    await arrive(context, client, self, {
      lines: [
        keepDevices
          ? "the new password is set; other devices stay signed in"
          : "the new password is set; every other device is removed from the account and cut off",
      ],
      extra: { keptDevices: keepDevices },
    });
  });
}

async function requireEmpty(client: Client, name: string): Promise<void> {
  const own = await accountOf(client);
  if (own === undefined) return;
  throw new CommandError("usage", "has-account", `recovering ${person(name)}: this folder is ${person(own.user)}'s`, {
    hint: "use an empty folder with --home; a password that you know is changed with `sotto password`",
  });
}

async function readCode(context: Context, given: string | undefined): Promise<string> {
  const { environment } = context;
  const asks = canAsk(environment);
  if (given !== undefined && (given !== "-" || !asks)) {
    return given === "-" ? await readText(environment.stdin) : given;
  }
  if (!asks) {
    throw new CommandError(
      "usage",
      "recovery-code-missing",
      "the recovery code is needed, and there is no terminal to ask for it",
      {
        hint: "give it on standard input with `--code -`",
      },
    );
  }
  return await askLine(environment, "Recovery code: ");
}

/** On a terminal a code that was asked for and has a slip in it is asked for again; the password need not be typed anew. */
async function withCode<T>(
  context: Context,
  code: string,
  options: RecoverOptions,
  use: (code: string) => Promise<T>,
): Promise<T> {
  const { environment } = context;
  let spelled = code;
  for (;;) {
    try {
      return await use(spelled);
    } catch (error) {
      const slipped = isClientError(error) && error.code === "recovery-code-typo";
      const wasAsked = canAsk(environment) && (options.code === undefined || options.code === "-");
      if (!slipped || !wasAsked) throw error;
      environment.stderr.write(`${error.message}; nothing was sent. ${error.hint ?? ""}\n`);
      spelled = await askLine(environment, "Recovery code: ");
    }
  }
}
