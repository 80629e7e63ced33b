/**
 * `sotto recover NAME`: a new password by the recovery code, on a new device in an empty home folder. Whoever lost the password may
 * have lost a device too, so the other devices are removed unless they are to be kept.
 */
import { type Client, readRecoveryCode } from "@sotto/client";
import { arrive } from "../arrival.ts";
import { type Context, withHome } from "../context.ts";
import { CommandError, isClientError } from "../errors.ts";
import { confirmServer } from "../first-contact.ts";
import { accountOf } from "../home-account.ts";
import { readText } from "../input.ts";
import { withNewPassword } from "../passwords.ts";
import { deviceName } from "../own-devices.ts";
import { person } from "../people.ts";
import { printable } from "../printable.ts";
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
    const { removed, ...self } = await withNewPassword(context, person(bareName), options, (newPassword) =>
      client.recover({ name: bareName, server, fingerprint, code, newPassword, keepDevices }),
    );
    const names = removed.map((device) => `${deviceName(device)} [${printable(device.id.slice(0, 8))}]`);
    await arrive(context, client, self, {
      lines: [
        keepDevices
          ? "the new password is set; other devices stay signed in"
          : "the new password is set; every other device is removed from the account and cut off",
        ...(names.length > 0 ? [`removed: ${names.join(", ")}`] : []),
      ],
      extra: { keptDevices: keepDevices, removed },
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

/** The code, as far as its checksum tells: on a terminal one with a slip in it is asked for again, before the server is reached. */
async function readCode(context: Context, given: string | undefined): Promise<string> {
  const { environment } = context;
  const asks = canAsk(environment) && (given === undefined || given === "-");
  for (;;) {
    const code = asks ? await askLine(environment, "Recovery code: ") : await givenCode(context, given);
    try {
      readRecoveryCode(code);
      return code;
    } catch (error) {
      if (!asks || !isClientError(error)) throw error;
      environment.stderr.write(`${error.message}; nothing was sent. ${error.hint ?? ""}\n`);
    }
  }
}

async function givenCode(context: Context, given: string | undefined): Promise<string> {
  if (given !== undefined) return given === "-" ? await readText(context.environment.stdin) : given;
  throw new CommandError(
    "usage",
    "recovery-code-missing",
    "the recovery code is needed, and there is no terminal to ask for it",
    { hint: "give it on standard input with `--code -`" },
  );
}
