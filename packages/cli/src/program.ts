/**
 * The command line as one table: every verb with its arguments, options and examples. What a verb does is in commands/<verb>.ts and loaded
 * when it runs, so that a verb starts no slower because there are others. Wrong usage ends with 2, all else as errors.ts says.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { type Context, createContext, type SharedFlags } from "./context.ts";
import type { Environment } from "./environment.ts";
import {
  CommandError,
  exitCodes,
  failureOf,
  failureText,
  Interrupted,
  interruptedExitCode,
  OutputClosed,
} from "./errors.ts";
import { addMessageVerbs } from "./message-verbs.ts";
import type { ServeOptions } from "./commands/serve.ts";
import { version } from "./version.ts";

/** Runs one command line; resolves with the exit code when its output has been taken. Never rejects. */
export async function run(argv: readonly string[], environment: Environment): Promise<number> {
  const { stdout, stderr, variables } = environment;
  // Whoever reads us may go at any time; each write reports that itself.
  stdout.on("error", () => {});
  stderr.on("error", () => {});
  const json = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : undefined).includes("--json");
  let exitCode = 0;
  try {
    const program = createProgram(environment, (code) => {
      exitCode = code;
    });
    // Without a verb the client opens; with a word that is no verb, commander says so.
    const wordless = program.parseOptions([...argv]).operands.length === 0;
    await (wordless ? program.action(program.openApp) : program).parseAsync([...argv], { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof OutputClosed) return 0;
    if (error instanceof Interrupted) return interruptedExitCode;
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const failure = error instanceof CommanderError ? usageError(error) : error;
    stderr.write(failureText(failure, { json, debug: Boolean(variables["SOTTO_DEBUG"]) }));
    return exitCodes[failureOf(failure).kind];
  }
}

/** Commander's complaint in our form: its text brings a prefix, and sometimes a suggestion in a second line. */
function usageError(error: CommanderError): CommandError {
  const [message = "", suggestion] = error.message.replace(/^error: /, "").split("\n");
  const hint = suggestion?.replace(/^\(|\)$/g, "").replace(/^Did/, "did") ?? usageHint(error.code);
  return new CommandError("usage", "usage", message.replace(/\.$/, ""), { hint });
}

function usageHint(code: string): string {
  if (code === "commander.unknownOption")
    return "a text that begins with a dash goes after `--`; the options are under --help";
  return "`sotto --help` lists the commands, `sotto COMMAND --help` explains one";
}

class Program extends Command {
  openApp: () => Promise<void> = () => Promise.resolve();
}

function createProgram(environment: Environment, setExitCode: (code: number) => void): Program {
  const program = new Program("sotto");
  program
    .exitOverride()
    .configureOutput({
      writeOut: (text) => environment.stdout.write(text),
      writeErr: (text) => environment.stderr.write(text),
      // `run` reports it, as text or as JSON.
      outputError: () => {},
      getOutHelpWidth: () => environment.stdout.columns ?? 100,
      getErrHelpWidth: () => environment.stderr.columns ?? 100,
    })
    .configureHelp({ showGlobalOptions: false, subcommandTerm: (command) => command.name() })
    .enablePositionalOptions()
    .helpCommand("help [command]", "show the help of a command")
    .description("Private messaging on your own server. Without a command it opens the client.")
    .usage("[options] [command]")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "show this help");
  addSharedOptions(program)
    .addOption(new Option("--server <host[:port]>", "open the client on this server").conflicts("invite"))
    .option("--invite <link>", "open the client with an invite link")
    .option("--fingerprint <fingerprint>", "insist on this server key at first contact")
    .addHelpText(
      "after",
      `
TO, WITH: @name of a person, a group's name, or the id of a conversation (its beginning is enough).
Two people on one machine need a folder each: --home DIR, or SOTTO_HOME.

Exit codes: 0 done, 1 unexpected, 2 usage, 3 not found, 4 refused, 5 server not reached,
            6 security stop (nothing was sent), 7 this machine's disk, port or store

Examples:
  sotto serve --port 12345                     run a server
  sotto register alice --server localhost:12345
  sotto send @bob 'lunch at one?'
  sotto inbox
  sotto                                        open the client`,
    );

  /** The context of a verb: shared flags count before and after it; the last one wins. */
  const contextOf = (command: Command): Context => {
    const line: Command[] = [];
    for (let at: Command | null = command; at; at = at.parent) line.unshift(at);
    const flags: SharedFlags = Object.assign({}, ...line.map((each) => each.opts<SharedFlags>()));
    return createContext(environment, flags);
  };
  const verb = (
    nameAndArguments: string,
    description: string,
    examples: string[],
    parent: Command = program,
  ): Command => {
    const command = parent.command(nameAndArguments).description(description);
    command.addHelpText("after", `\nExamples:\n${examples.map((line) => `  ${line}`).join("\n")}`);
    command.hook("preAction", () => {
      for (const name of ["server", "invite", "fingerprint"]) {
        if (program.getOptionValue(name) !== undefined) {
          throw new CommandError(
            "usage",
            "usage",
            `--${name} goes after the command: sotto ${command.name()} … --${name} …`,
          );
        }
      }
    });
    return command;
  };

  program.openApp = async () => {
    const { openApp } = await import("./app/app.ts");
    await openApp(contextOf(program), program.opts());
  };

  program.commandsGroup("Server");
  addSharedOptions(
    verb("serve", "run a server on this machine", [
      "sotto serve --port 12345",
      "sotto serve --port 443 --host chat.example.org --cert chain.pem --key key.pem",
    ])
      .option("--port <port>", "the port to listen on; 0 takes any free one", "12345")
      .option("--host <name>", "a name or address under which people reach this server; may be repeated", collect, [])
      .option("--listen <address>", "the address to listen on (default: all)")
      .option(
        "--data <dir>",
        "the folder for everything the server keeps (default: $SOTTO_DATA, else beside your other programs' data)",
      )
      .option("--cert <file>", "your own certificate chain (PEM) in place of the self-made one")
      .option("--key <file>", "the private key of --cert (PEM)")
      .addOption(
        new Option("--registration <who>", "who may create an account")
          .choices(["open", "invite", "closed"])
          .default("invite"),
      )
      .addOption(
        new Option(
          "--local-registration <on|off>",
          "whether this machine may register without an invite in the first 24 hours (default: on, with --host off)",
        ).choices(["on", "off"]),
      )
      .addOption(
        new Option("--strangers <what>", "messages of people one never wrote to").choices(["allow", "request"]),
      )
      .addOption(
        new Option("--log <form>", "log lines for people, or one JSON object each")
          .choices(["pretty", "json"])
          .default("pretty"),
      )
      .option("--metrics-token <token>", "offer /metrics to requests that carry this token")
      .option("--origin <origin>", "another web origin whose pages may connect; may be repeated", collect, [])
      .option("--rate-factor <n>", "multiply every rate limit, for benchmarks"),
  ).action(async (options: ServeOptions, command: Command) => {
    const { serve } = await import("./commands/serve.ts");
    await serve(contextOf(command), options);
  });

  addSharedOptions(
    verb("invite", "print a link with which people create their account; run it on the server's machine", [
      "sotto invite",
      "sotto invite --uses 20 --expires 30",
      "sotto invite --from @alice",
    ])
      // The bounds are the server's (inviteMaxima), without loading it for every command.
      .option("--uses <n>", "how many accounts it is good for", wholeNumber(1, 10_000), 1)
      .option("--expires <days>", "for how many days", wholeNumber(1, 365), 7)
      .option("--from <name>", "whom the newcomer gets to know by it: an account of this server")
      .option("--data <dir>", "the server's data folder, as given to serve"),
  ).action(async (options: { uses: number; expires: number; from?: string; data?: string }, command: Command) => {
    const { invite } = await import("./commands/invite.ts");
    await invite(contextOf(command), options);
  });

  const admin = verb("admin", "look after the server; run it on the server's machine", ["sotto admin reports"]);
  admin.helpCommand(false);
  addSharedOptions(
    verb(
      "reports",
      "messages that people reported, each with a checked proof of who wrote it",
      ["sotto admin reports", "sotto admin reports --json | jq -r .text", "sotto admin reports --delete 12"],
      admin,
    )
      .option("--delete <n>", "put away the reports up to this number", wholeNumber(1, Number.MAX_SAFE_INTEGER))
      .option("--data <dir>", "the server's data folder, as given to serve"),
  ).action(async (options: { delete?: number; data?: string }, command: Command) => {
    const { reports } = await import("./commands/admin.ts");
    await reports(contextOf(command), options);
  });

  program.commandsGroup("Account");
  addSharedOptions(
    addPasswordFile(
      verb("register <name>", "create an account; prints the recovery code once", [
        "sotto register alice --server localhost:12345",
        "sotto register bob --invite 'https://chat.example.org:12345/#…'",
        "SOTTO_PASSWORD='…' sotto register bot --server localhost:12345 --json",
      ])
        .option("--server <host[:port]>", "the server to register on")
        .option("--invite <link>", "the invite link of the server; quote it for the shell")
        .option("--fingerprint <fingerprint>", "insist on this server key: SHA256:…"),
    ),
  ).action(
    async (
      name: string,
      options: { server?: string; invite?: string; fingerprint?: string; passwordFile?: string },
      command: Command,
    ) => {
      const { register } = await import("./commands/register.ts");
      await register(contextOf(command), name, options);
    },
  );

  addSharedOptions(
    addPasswordFile(
      verb("login <name>", "sign in: a new device in an empty folder, or the one that logged out", [
        "sotto login alice --server chat.example.org:12345",
        "sotto login alice --server chat.example.org --replace 3f2a1b9c",
        "sotto login alice",
      ])
        .option("--server <host[:port]>", "the account's server; needed in an empty folder")
        .option("--replace <device>", "take the place of this device, which is removed")
        .option("--fingerprint <fingerprint>", "insist on this server key: SHA256:…"),
    ),
  ).action(
    async (
      name: string,
      options: { server?: string; fingerprint?: string; replace?: string; passwordFile?: string },
      command: Command,
    ) => {
      const { login } = await import("./commands/login.ts");
      await login(contextOf(command), name, options);
    },
  );

  addSharedOptions(verb("logout", "end this device's session; messages stay on this disk", ["sotto logout"])).action(
    async (_options: unknown, command: Command) => {
      const { logout } = await import("./commands/logout.ts");
      await logout(contextOf(command));
    },
  );

  addSharedOptions(
    verb("whoami", "account, device and server of this folder", ["sotto whoami", "sotto whoami --json | jq -r .user"]),
  ).action(async (_options: unknown, command: Command) => {
    const { whoami } = await import("./commands/whoami.ts");
    await whoami(contextOf(command));
  });

  const devices = addSharedOptions(
    verb("devices", "the devices of this account; remove or rename one", [
      "sotto devices",
      "sotto devices remove 3f2a1b9c",
      "sotto devices rename 3f2a1b9c my laptop",
    ]),
  ).action(async (_options: unknown, command: Command) => {
    const { listDevices } = await import("./commands/devices.ts");
    await listDevices(contextOf(command));
  });
  devices.helpCommand(false).configureHelp({
    ...devices.configureHelp(),
    subcommandTerm: (command) =>
      [
        command.name(),
        ...command.registeredArguments.map((each) => `<${each.name()}${each.variadic ? "..." : ""}>`),
      ].join(" "),
  });
  addSharedOptions(
    addPasswordFile(
      verb("remove <id>", "cut a device off; asks for the password", ["sotto devices remove 3f2a1b9c"], devices),
    ),
  ).action(async (id: string, options: { passwordFile?: string }, command: Command) => {
    const { removeDevice } = await import("./commands/devices.ts");
    await removeDevice(contextOf(command), id, options);
  });
  addSharedOptions(
    verb("rename <id> <name...>", "call a device something else", ["sotto devices rename 3f2a1b9c my laptop"], devices),
  ).action(async (id: string, words: string[], _options: unknown, command: Command) => {
    const { renameDevice } = await import("./commands/devices.ts");
    await renameDevice(contextOf(command), id, words);
  });

  addSharedOptions(
    addPasswordFile(
      verb("password", "change the password; other devices stay signed in", [
        "sotto password",
        "SOTTO_PASSWORD='…' SOTTO_NEW_PASSWORD='…' sotto password",
      ]),
    ).option(
      "--new-password-file <file>",
      "read the new one from the first line of a file (or set SOTTO_NEW_PASSWORD)",
    ),
  ).action(async (options: { passwordFile?: string; newPasswordFile?: string }, command: Command) => {
    const { password } = await import("./commands/password.ts");
    await password(contextOf(command), options);
  });

  addSharedOptions(
    addPasswordFile(
      verb("recover <name>", "set a new password with the recovery code, in an empty folder", [
        "sotto recover alice --server chat.example.org:12345",
        "SOTTO_PASSWORD='…' sotto recover alice --server chat.example.org --code - < code.txt",
      ])
        .requiredOption("--server <host[:port]>", "the account's server")
        .option("--code <code>", "the recovery code, or `-` for standard input (default: it is asked for)")
        .option("--keep-devices", "leave the other devices signed in; else they are removed")
        .option("--fingerprint <fingerprint>", "insist on this server key: SHA256:…"),
    ),
  ).action(
    async (
      name: string,
      options: { server: string; code?: string; keepDevices?: boolean; fingerprint?: string; passwordFile?: string },
      command: Command,
    ) => {
      const { recover } = await import("./commands/recover.ts");
      await recover(contextOf(command), name, options);
    },
  );

  const recoveryCode = verb("recovery-code", "make a new recovery code; the one before is worth nothing then", [
    "sotto recovery-code new",
  ]).addArgument(program.createArgument("<action>", "what to do").choices(["new"]));
  addSharedOptions(addPasswordFile(recoveryCode)).action(
    async (_action: "new", options: { passwordFile?: string }, command: Command) => {
      const { newRecoveryCode } = await import("./commands/recovery-code.ts");
      await newRecoveryCode(contextOf(command), options);
    },
  );

  const identity = verb("identity", "another identity key, if somebody may have got at it; safety numbers change", [
    "sotto identity rotate",
  ]).addArgument(program.createArgument("<action>", "what to do").choices(["rotate"]));
  addSharedOptions(addPasswordFile(identity)).action(
    async (_action: "rotate", options: { passwordFile?: string }, command: Command) => {
      const { rotateIdentity } = await import("./commands/identity.ts");
      await rotateIdentity(contextOf(command), options);
    },
  );

  addSharedOptions(
    verb("set [words...]", "show the settings, or change one: [WITH] KEY VALUE", [
      "sotto set",
      "sotto set receipts off",
      "sotto set @bob",
      "sotto set @bob expiry 1d",
      "sotto set @bob history off",
      "sotto set @bob archived on",
      "sotto set Team invites admins",
      "sotto set Team picture mountain.jpg",
      "sotto set Team share-history on",
    ]).usage("[options] [with] [key value]"),
  ).action(async (words: string[], _options: unknown, command: Command) => {
    const { set } = await import("./commands/set.ts");
    await set(contextOf(command), words);
  });

  program.commandsGroup("Messages");
  addSharedOptions(
    verb("send <to> [text...]", "send a message, with files if you like; `-` as text reads it from standard input", [
      "sotto send @bob 'lunch at one?'",
      "df -h | sotto send @ops -",
      "sotto send @bob yes --reply-to 3f2a1b9c --wait read --timeout 60",
      "sotto send @bob 'as promised' --attach report.pdf lake.jpg",
      "sotto send @bob -- --this text begins with dashes",
    ])
      .option("--attach <file...>", "files to send along, ten at most, each up to 100 MiB")
      .option("--reply-to <id>", "the message that this one answers")
      .addOption(
        new Option("--wait <state>", "wait until it is so far; exit 5 if it is not in time").choices([
          "accepted",
          "delivered",
          "read",
        ]),
      )
      .option("--timeout <seconds>", "how long --wait waits", wholeNumber(0, 86_400), 30),
  ).action(
    async (
      to: string,
      words: string[],
      options: { replyTo?: string; attach?: string[]; wait?: "accepted" | "delivered" | "read"; timeout?: number },
      command: Command,
    ) => {
      const { send } = await import("./commands/send.ts");
      await send(contextOf(command), to, words, options);
    },
  );

  addSharedOptions(
    verb("schedule <to> [words...]", "send a message later, from the first of your devices that is online then", [
      "sotto schedule @bob 18:30 'dinner is ready'",
      "sotto schedule @bob tomorrow 9:00 good morning",
      "sotto schedule @bob 'in 2h' - < text",
      "sotto schedule list",
      "sotto schedule cancel 3f2a1b9c",
    ]).usage("[options] <to> <when> <text...> | list | cancel <id>"),
  ).action(async (first: string, words: string[], _options: unknown, command: Command) => {
    const { schedule } = await import("./commands/schedule.ts");
    await schedule(contextOf(command), first, words);
  });

  addMessageVerbs({ verb, addSharedOptions, contextOf });

  addSharedOptions(
    verb("save <id>", "save what a message brought as files; takes no other file's place", [
      "sotto save 3f2a1b9c",
      "sotto save 3f2a1b9c --to ~/Downloads",
    ]).option("--to <dir>", "the folder; made if it is missing (default: this one)"),
  ).action(async (id: string, options: { to?: string }, command: Command) => {
    const { save } = await import("./commands/save.ts");
    await save(contextOf(command), id, options);
  });

  addSharedOptions(
    verb("inbox [from]", "unread messages, oldest first; marks them read", [
      "sotto inbox",
      "sotto inbox --peek",
      "sotto inbox --requests",
      "sotto inbox @bob --json",
    ])
      .option("--peek", "do not mark them read")
      .option("--requests", "those of strangers who ask to write to you"),
  ).action(async (from: string | undefined, options: { peek?: boolean; requests?: boolean }, command: Command) => {
    const { inbox } = await import("./commands/inbox.ts");
    await inbox(contextOf(command), from, options);
  });

  const group = verb("group", "make a group, change who is in it, and leave it", [
    "sotto group create 'Bergfreunde' @bob @carol",
    "sotto group add Bergfreunde @dave",
    "sotto send Bergfreunde 'saturday at eight?'",
  ]);
  group.helpCommand(false).configureHelp({
    ...group.configureHelp(),
    subcommandTerm: (command) =>
      [
        command.name(),
        ...command.registeredArguments.map((each) => {
          const name = `${each.name()}${each.variadic ? "..." : ""}`;
          return each.required ? `<${name}>` : `[${name}]`;
        }),
      ].join(" "),
  });
  addSharedOptions(
    verb(
      "create <name> [people...]",
      "make a group; you are its admin",
      ["sotto group create Team @bob @carol"],
      group,
    ),
  ).action(async (name: string, people: string[], _options: unknown, command: Command) => {
    const { createGroup } = await import("./commands/group.ts");
    await createGroup(contextOf(command), name, people);
  });
  addSharedOptions(verb("add <group> <people...>", "let people in", ["sotto group add Team @dave"], group)).action(
    async (which: string, people: string[], _options: unknown, command: Command) => {
      const { addMembers } = await import("./commands/group.ts");
      await addMembers(contextOf(command), which, people);
    },
  );
  addSharedOptions(
    verb(
      "remove <group> <people...>",
      "put people out; they read nothing that comes later",
      ["sotto group remove Team @dave"],
      group,
    ),
  ).action(async (which: string, people: string[], _options: unknown, command: Command) => {
    const { removeMembers } = await import("./commands/group.ts");
    await removeMembers(contextOf(command), which, people);
  });
  addSharedOptions(
    verb(
      "leave <group>",
      "leave it; the last admin hands over",
      ["sotto group leave Team", "sotto group leave Team --to @bob"],
      group,
    ).option("--to <user>", "who becomes an admin, if you are the last one (default: who has been in it longest)"),
  ).action(async (which: string, options: { to?: string }, command: Command) => {
    const { leaveGroup } = await import("./commands/group.ts");
    await leaveGroup(contextOf(command), which, options);
  });
  addSharedOptions(
    verb("rename <group> <name>", "call it something else", ["sotto group rename Team 'The team'"], group),
  ).action(async (which: string, name: string, _options: unknown, command: Command) => {
    const { renameGroup } = await import("./commands/group.ts");
    await renameGroup(contextOf(command), which, name);
  });
  addSharedOptions(
    verb("picture <group>", "save its picture", ["sotto group picture Team --to team.jpg"], group).requiredOption(
      "--to <file>",
      "where to; nothing is overwritten",
    ),
  ).action(async (which: string, options: { to: string }, command: Command) => {
    const { savePicture } = await import("./commands/group-picture.ts");
    await savePicture(contextOf(command), which, options);
  });
  addSharedOptions(
    verb("members <group>", "who is in it, and who is an admin", ["sotto group members Team --json"], group),
  ).action(async (which: string, _options: unknown, command: Command) => {
    const { listMembers } = await import("./commands/group.ts");
    await listMembers(contextOf(command), which);
  });
  addSharedOptions(
    verb(
      "role <group> <user>",
      "make somebody an admin, or a member like others",
      ["sotto group role Team @bob admin"],
      group,
    ).addArgument(program.createArgument("<role>", "what they are to be").choices(["admin", "member"])),
  ).action(async (which: string, user: string, role: "admin" | "member", _options: unknown, command: Command) => {
    const { setRole } = await import("./commands/group.ts");
    await setRole(contextOf(command), which, user, role);
  });

  addSharedOptions(
    verb("notifications", "how many unread messages wait, per conversation; changes nothing", [
      "sotto notifications",
      "sotto notifications --json",
    ]),
  ).action(async (_options: unknown, command: Command) => {
    const { notifications } = await import("./commands/notifications.ts");
    await notifications(contextOf(command));
  });

  addSharedOptions(
    verb("history <with>", "every message of a conversation with its state, oldest first", [
      "sotto history @bob",
      "sotto history @bob --limit 20",
      "sotto history @bob --json | jq -r .text",
    ])
      .option("--limit <n>", "only the newest so many", wholeNumber(1, 1_000_000))
      .option("--before <id>", "only what came before this message")
      .option("--events", "also what else happened: edits, reactions, joins, devices, security")
      .option("--pinned", "only messages that are pinned")
      .option("--receipts", "who has your messages, and who has read them, by name"),
  ).action(
    async (
      withWhom: string,
      options: { limit?: number; before?: string; events?: boolean; pinned?: boolean; receipts?: boolean },
      command: Command,
    ) => {
      const { history } = await import("./commands/history.ts");
      await history(contextOf(command), withWhom, options);
    },
  );

  addSharedOptions(
    verb("search <words...>", "find messages on this device by words and filters, newest first", [
      "sotto search lunch",
      "sotto search from:@bob has:link after:2026-01",
      "sotto search '\"see you at one\"' --in @bob --json | jq -r .text",
    ])
      .option("--in <with>", "only this conversation")
      .option("--limit <n>", "the newest so many", wholeNumber(1, 1_000), 20)
      .option("--before <id>", "only what came before this message"),
  ).action(async (words: string[], options: { in?: string; limit?: number; before?: string }, command: Command) => {
    const { search } = await import("./commands/search.ts");
    await search(contextOf(command), words, { in: options.in, limit: options.limit, before: options.before });
  });

  addSharedOptions(verb("conversations", "all conversations with their unread counts", ["sotto conversations"])).action(
    async (_options: unknown, command: Command) => {
      const { conversations } = await import("./commands/conversations.ts");
      await conversations(contextOf(command));
    },
  );

  addSharedOptions(
    verb("watch [with]", "print everything as it happens, one JSON object a line, until Ctrl-C", [
      "sotto watch",
      "sotto watch @bob --mark-read | while read -r event; do …; done",
    ]).option("--mark-read", "what was printed counts as read"),
  ).action(async (withWhom: string | undefined, options: { markRead?: boolean }, command: Command) => {
    const { watch } = await import("./commands/watch.ts");
    await watch(contextOf(command), withWhom, options);
  });

  addSharedOptions(
    verb(
      "export <file>",
      "write your whole history as JSON Lines, and its attachments beside it; `-` writes it to standard output",
      ["sotto export history.jsonl", "sotto export - | jq -r 'select(.title == \"@bob\") | .text'"],
    ).option("--force", "replace the file if it is there, and the folder of its attachments"),
  ).action(async (file: string, options: { force?: boolean }, command: Command) => {
    const { exportHistory } = await import("./commands/export.ts");
    await exportHistory(contextOf(command), file, options);
  });

  program.commandsGroup("People");
  addSharedOptions(
    verb("requests [answer] [name]", "strangers who ask to write to you; accept, refuse or block one", [
      "sotto requests",
      "sotto requests accept @mallory",
      "sotto requests refuse @mallory",
    ]),
  ).action(async (answer: string | undefined, name: string | undefined, _options: unknown, command: Command) => {
    const { requests } = await import("./commands/requests.ts");
    await requests(contextOf(command), answer, name);
  });

  addSharedOptions(
    verb("block [name]", "take nothing more from someone; without a name: whom you block", [
      "sotto block @mallory",
      "sotto block",
    ]),
  ).action(async (name: string | undefined, _options: unknown, command: Command) => {
    const { block } = await import("./commands/block.ts");
    await block(contextOf(command), name);
  });

  addSharedOptions(verb("unblock <name>", "take the block back", ["sotto unblock @mallory"])).action(
    async (name: string, _options: unknown, command: Command) => {
      const { unblock } = await import("./commands/block.ts");
      await unblock(contextOf(command), name);
    },
  );

  addSharedOptions(
    verb("mute <with> [duration]", "announce nothing of a conversation, for ever or so long", [
      "sotto mute @bob",
      "sotto mute @bob 8h",
      "sotto mute @bob off",
    ]),
  ).action(async (withWhom: string, duration: string | undefined, _options: unknown, command: Command) => {
    const { mute } = await import("./commands/mute.ts");
    await mute(contextOf(command), withWhom, duration);
  });

  addSharedOptions(
    verb("status <name>", "whether someone is online, or when last seen, if they show it", ["sotto status @bob"]),
  ).action(async (name: string, _options: unknown, command: Command) => {
    const { status } = await import("./commands/status.ts");
    await status(contextOf(command), name);
  });

  addSharedOptions(
    verb("verify <name>", "the safety number with someone, to compare over another channel", [
      "sotto verify @bob",
      "sotto verify @bob --confirm",
      "sotto verify @bob --accept-new",
    ])
      .addOption(
        program.createOption("--confirm", "it was the same on both sides: remember that").conflicts("acceptNew"),
      )
      .option("--accept-new", "take a changed identity without comparing, so that messages go there again"),
  ).action(async (name: string, options: { confirm?: boolean; acceptNew?: boolean }, command: Command) => {
    const { verify } = await import("./commands/verify.ts");
    await verify(contextOf(command), name, options);
  });

  addSharedOptions(
    verb("report <id>", "show the operator a message, with the proof of who wrote it and nothing else", [
      "sotto report 3f2a1b9c",
      "sotto report 3f2a1b9c --note 'the third one this week'",
    ]).option("--note <text>", "a word to the operator"),
  ).action(async (id: string, options: { note?: string }, command: Command) => {
    const { report } = await import("./commands/report.ts");
    await report(contextOf(command), id, options);
  });

  addSharedOptions(
    verb("trust <host>", "accept a server's new key after its operator confirmed it", [
      "sotto trust chat.example.org --fingerprint SHA256:…",
    ]).requiredOption("--fingerprint <fingerprint>", "the new key, as on the server's first screen"),
  ).action(async (host: string, options: { fingerprint: string }, command: Command) => {
    const { trust } = await import("./commands/trust.ts");
    await trust(contextOf(command), host, options);
  });

  program.commandsGroup("Help");
  addSharedOptions(verb("doctor", "check that everything is in order, and say what to do", ["sotto doctor"])).action(
    async (_options: unknown, command: Command) => {
      const { doctor } = await import("./commands/doctor.ts");
      setExitCode(await doctor(contextOf(command)));
    },
  );

  verb("completion", "print a completion script for bash, zsh or fish", ["source <(sotto completion bash)"])
    .addArgument(program.createArgument("<shell>", "the shell").choices(["bash", "zsh", "fish"]))
    .action(async (shell: "bash" | "zsh" | "fish", _options: unknown, command: Command) => {
      const { completion } = await import("./commands/completion.ts");
      await completion(contextOf(command), shell, program);
    });

  return program;
}

/** The flags that every verb takes, before it or after it. */
function addSharedOptions<C extends Command>(command: C): C {
  return command
    .optionsGroup("Shared options")
    .option("--home <dir>", "the folder of the account (default: $SOTTO_HOME, else beside your other programs' data)")
    .option("--json", "print JSON: one value, or one a line for lists")
    .option("--quiet", "no notes on standard error, only failures");
}

function addPasswordFile<C extends Command>(command: C): C {
  return command.option(
    "--password-file <file>",
    "read the password from the first line of a file (or set SOTTO_PASSWORD)",
  );
}

function collect(value: string, previous: string[]): string[] {
  return [...previous, value];
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!/^\d+$/.test(text) || number < min || number > max)
      throw new InvalidArgumentError(`It takes a whole number from ${min} to ${max}.`);
    return number;
  };
}
