/**
 * Where a password comes from: a file, the environment, or a question on the terminal. It is never an argument, which other users of
 * the machine could see. A new one is asked twice, and a generated one is offered.
 */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Context } from "./context.ts";
import { CommandError, isClientError } from "./errors.ts";
import { createPassphrase, passphraseBits } from "./passphrase.ts";
import { askSecret, askYesNo, canAsk } from "./questions.ts";

interface PasswordSource {
  passwordFile?: string;
}

/** How a password is given without a terminal. */
interface PasswordNames {
  variable: string;
  option: string;
}

const passwordNames: PasswordNames = { variable: "SOTTO_PASSWORD", option: "--password-file" };
/** Where two are needed at once, the one that replaces the other. */
export const newPasswordNames: PasswordNames = { variable: "SOTTO_NEW_PASSWORD", option: "--new-password-file" };

/** The password of an account that exists. */
export async function readPassword(context: Context, name: string, source: PasswordSource): Promise<string> {
  const given = await givenPassword(context, source, passwordNames);
  return given ?? (await askSecret(context.environment, `Password of ${name}: `));
}

/**
 * Calls `use` with a new password. On a terminal, one that is refused as too weak is asked for again.
 */
export async function withNewPassword<T>(
  context: Context,
  name: string,
  source: PasswordSource,
  use: (password: string) => Promise<T>,
  names = passwordNames,
): Promise<T> {
  const given = await givenPassword(context, source, names);
  if (given !== undefined) return await use(given);
  for (;;) {
    const password = await chooseNewPassword(context, name);
    try {
      return await use(password);
    } catch (error) {
      if (!isClientError(error) || error.code !== "password-weak") throw error;
      context.environment.stderr.write(
        `That will not do: ${error.message}.\nWhat would: ${error.hint ?? "a longer one"}.\n`,
      );
    }
  }
}

async function givenPassword(
  context: Context,
  source: PasswordSource,
  names: PasswordNames,
): Promise<string | undefined> {
  const { environment } = context;
  if (source.passwordFile !== undefined) return await readPasswordFile(source.passwordFile);
  const variable = environment.variables[names.variable];
  if (variable !== undefined && variable !== "") return variable;
  if (canAsk(environment)) return undefined;
  throw new CommandError(
    "usage",
    "password-missing",
    `a${names === newPasswordNames ? " new" : ""} password is needed, and there is no terminal to ask for it`,
    {
      hint: `set ${names.variable}, or name a file that holds it with ${names.option} FILE`,
    },
  );
}

/** The first line; a line break at its end is not part of the password. */
async function readPasswordFile(file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new CommandError(
      "usage",
      "password-file-unreadable",
      `reading the password from ${file}: ${describe(error)}`,
      {
        hint: "the file must exist and be readable by you alone",
        cause: error,
      },
    );
  }
  const [line = ""] = text.split(/\r?\n/);
  if (line === "")
    throw new CommandError("usage", "password-missing", `reading the password from ${file}: its first line is empty`);
  return line;
}

async function chooseNewPassword(context: Context, name: string): Promise<string> {
  const { environment } = context;
  for (;;) {
    const password = await askSecret(
      environment,
      `Choose a password for ${name} (just Enter: have one made for you): `,
    );
    if (password === "") {
      const passphrase = createPassphrase(randomBytes);
      environment.stderr.write(
        `\n    ${passphrase}\n\nThat one has ${passphraseBits} bits: nobody can guess it, so keep it in a password manager or on paper.\n`,
      );
      if (await askYesNo(environment, "Use it?")) return passphrase;
      continue;
    }
    if ((await askSecret(environment, "The same password again: ")) === password) return password;
    environment.stderr.write("These two differ; once more.\n");
  }
}

function describe(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT") return "there is no such file";
  if (code === "EACCES") return "permission denied";
  if (code === "EISDIR") return "it is a folder";
  return error instanceof Error ? error.message : String(error);
}
