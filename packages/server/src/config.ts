/**
 * Every setting of the server, once: its flag, default, meaning and how it is read. `sotto serve --help` and
 * docs/operating are made from this table. Fixed limits are in `@sotto/protocol`'s limits.ts; what is here is the operator's.
 */
import * as v from "valibot";
import { defaultPort } from "@sotto/protocol";
import { ServerError } from "./server-error.ts";

const onOff = v.union([
  v.boolean(),
  v.pipe(
    v.picklist(["on", "off"]),
    v.transform((value) => value === "on"),
  ),
]);
const number = v.union([v.number(), v.pipe(v.string(), v.regex(/^\d{1,9}$/, "a number"), v.transform(Number))]);
const port = v.pipe(number, v.integer("a whole number"), v.minValue(0, "0 to 65535"), v.maxValue(65_535, "0 to 65535"));
// A name or an address as it stands in a URL, without scheme, port or path.
const hostPattern =
  /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|[0-9a-f:]*:[0-9a-f:.]*)$/i;
const host = v.pipe(
  v.string(),
  v.maxLength(253, "at most 253 characters"),
  v.regex(hostPattern, "a host name or address, without https:// and port"),
);
const origin = v.pipe(v.string(), v.regex(/^https?:\/\/[^/?#\s]+$/, "an origin such as https://chat.example.org"));
const file = v.pipe(v.string(), v.minLength(1, "a file name"));

interface Setting {
  readonly flag: string;
  readonly unit?: string;
  readonly help: string;
  readonly schema: v.GenericSchema;
}

export const settings = {
  port: {
    flag: "--port PORT",
    help: "the port to listen on; 0 takes any free one",
    schema: v.optional(port, defaultPort),
  },
  listen: {
    flag: "--listen ADDRESS",
    help: "the address to listen on; the default takes connections from everywhere",
    schema: v.optional(host, "::"),
  },
  hosts: {
    flag: "--host NAME",
    help: "a name or address under which people reach this server; goes into its certificate and its invite links; may be repeated",
    schema: v.optional(v.pipe(v.array(host), v.maxLength(50, "at most 50")), []),
  },
  data: {
    flag: "--data DIR",
    help: "the data folder: everything that the server keeps, its keys included",
    schema: v.pipe(v.string(), v.minLength(1, "a folder")),
  },
  certFile: {
    flag: "--cert FILE",
    help: "your own certificate chain (PEM) in place of the self-made one; read again when the file changes",
    schema: v.optional(file),
  },
  keyFile: {
    flag: "--key FILE",
    help: "the private key of --cert (PEM)",
    schema: v.optional(file),
  },
  registration: {
    flag: "--registration open|invite|closed",
    help: "who may create an account: anyone, holders of an invite, nobody",
    schema: v.optional(v.picklist(["open", "invite", "closed"]), "invite"),
  },
  localRegistration: {
    flag: "--local-registration on|off",
    help: "whether this machine itself may register without an invite during the first 24 hours of the data folder (default: on, with --host off)",
    schema: v.optional(onOff),
  },
  strangers: {
    flag: "--strangers allow|request",
    help: "whether messages of people one never wrote to arrive at once, or wait as requests of at most five messages (default: allow; with open registration request, except from this machine)",
    schema: v.optional(v.picklist(["allow", "request"])),
  },
  log: {
    flag: "--log pretty|json",
    help: "how log lines look: for people, or one JSON object each",
    schema: v.optional(v.picklist(["pretty", "json"]), "pretty"),
  },
  metricsToken: {
    flag: "--metrics-token TOKEN",
    help: "turns /metrics on, for requests with `Authorization: Bearer TOKEN`",
    schema: v.optional(v.pipe(v.string(), v.minLength(16, "at least 16 characters"))),
  },
  origins: {
    flag: "--origin ORIGIN",
    help: "an origin besides the server's own whose pages may connect; may be repeated",
    schema: v.optional(v.array(origin), []),
  },
  rateFactor: {
    flag: "--rate-factor N",
    unit: "times",
    help: "multiplies every rate limit and socket limit, for benchmarks; printed at start when it is not 1",
    schema: v.optional(v.pipe(number, v.minValue(1, "1 or more")), 1),
  },
} as const satisfies Record<string, Setting>;

type SettingName = keyof typeof settings;
type Values = { [Name in SettingName]: v.InferOutput<(typeof settings)[Name]["schema"]> };
export type Config = Readonly<Omit<Values, "localRegistration"> & { localRegistration: boolean }>;
/** What a command line or a program hands in: as typed, everything but the data folder optional. */
export type ConfigInput = { [Name in SettingName]?: v.InferInput<(typeof settings)[Name]["schema"]> } & {
  data: string;
};

/** @throws ServerError `config-invalid`: the first setting that is wrong, and what it takes */
export function readConfig(input: Readonly<Record<string, unknown>>): Config {
  const values: Record<string, unknown> = {};
  for (const name of Object.keys(input)) {
    if (!Object.hasOwn(settings, name))
      throw new ServerError("config-invalid", `unknown setting ${JSON.stringify(name)}`);
  }
  for (const [name, { flag, schema }] of Object.entries<Setting>(settings)) {
    const parsed = v.safeParse(schema, input[name]);
    if (!parsed.success) {
      const given = input[name] === undefined ? "nothing" : JSON.stringify(input[name]);
      // Choices stand in the flag itself; valibot's own sentences are for programmers.
      const [issue] = parsed.issues;
      const takes =
        issue.type === "regex" || issue.message.length < 60 ? issue.message : flag.slice(flag.indexOf(" ") + 1);
      const expected = /^(Invalid|Expected)/.test(takes) ? flag.slice(flag.indexOf(" ") + 1) : takes;
      throw new ServerError("config-invalid", `${flag.split(" ")[0]} takes ${expected}; it was given ${given}`);
    }
    values[name] = parsed.output;
  }
  const config = values as Values;
  if ((config.certFile === undefined) !== (config.keyFile === undefined)) {
    throw new ServerError(
      "config-invalid",
      "--cert and --key go together; give both, or neither for a self-made certificate",
    );
  }
  // Whoever names the server expects people from elsewhere, perhaps through a proxy or a port forward on this machine.
  const localRegistration = config.localRegistration ?? config.hosts.length === 0;
  const hosts = [...new Set(config.hosts.map((name) => name.toLowerCase()))];
  return { ...config, hosts, localRegistration };
}
