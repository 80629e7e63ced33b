/**
 * Who may import whom, and what the packages without I/O must not touch (ARCHITECTURE.md). Works on sources given as
 * text, so that its test can plant violations; `boundaries.test.ts` applies it to the workspace as it is.
 *
 * Tests beside the source keep to their package's arrows too, but may use Node, timers and the root's tools.
 */
import path from "node:path";
import { parseSync, visitorKeys } from "oxc-parser";

export interface Workspace {
  /** Text by path from the root, with `/`: `packages/e2ee/src/vault.ts`. */
  readonly sources: ReadonlyMap<string, string>;
  readonly packages: readonly Package[];
  /** What the root declares: the tools that every test may use. */
  readonly rootDependencies: ReadonlySet<string>;
}

export interface Package {
  readonly name: string;
  readonly folder: string;
  readonly dependencies: ReadonlySet<string>;
  /** For its tests alone. */
  readonly devDependencies: ReadonlySet<string>;
  /** Source by subpath, as `exports` declares it: `.` → `packages/client/src/index.ts`. */
  readonly entries: ReadonlyMap<string, string>;
}

/** The packages that each may import; what is not here (`testing`, `bench`) sees every one. */
const arrows: Record<string, readonly string[]> = {
  "@sotto/protocol": [],
  "@sotto/e2ee": ["@sotto/protocol"],
  "@sotto/client": ["@sotto/protocol", "@sotto/e2ee"],
  "@sotto/server": ["@sotto/protocol"],
  "@sotto/cli": ["@sotto/protocol", "@sotto/client", "@sotto/server"],
  "@sotto/web": ["@sotto/protocol", "@sotto/client"],
};

/** Imports that only some files of a package may make. */
const reserved: readonly {
  readonly what: RegExp;
  readonly within: string;
  readonly only: RegExp;
  readonly why: string;
}[] = [
  {
    what: /^@sotto\/server($|\/)/,
    within: "packages/cli/",
    only: /^packages\/cli\/src\/commands\/(serve|invite|admin)\.ts$/,
    why: "only the commands that run on the server's machine use the server",
  },
  {
    what: /^(pg|pg-.*|@nats-io\/.*)$/,
    within: "packages/server/",
    only: /^packages\/server\/src\/(store\/postgres|bus)\//,
    why: "an optional database or bus is known to its adapter only",
  },
  {
    what: /^node:sqlite$/,
    within: "packages/",
    only: /\/sqlite(\/|\.|-)|\/sqlite[^/]*\.ts$/,
    why: "SQLite is known to its adapter only",
  },
];

/** Without I/O: what these need of the outside is handed in. */
const purePackages = new Set(["@sotto/protocol", "@sotto/e2ee"]);
const impureGlobals = new Set(
  (
    "process Buffer require console performance navigator window document self setTimeout setInterval setImmediate " +
    "fetch WebSocket XMLHttpRequest EventSource Worker indexedDB localStorage sessionStorage caches BroadcastChannel"
  ).split(" "),
);
const impureMembers = new Set(["Date.now", "Math.random", "crypto.getRandomValues", "crypto.randomUUID"]);

/** The client's entries that run in a browser: neither they nor what they import may need Node. */
const browserEntries = ["packages/client/src/index.ts", "packages/client/src/browser.ts"];
const nodeOnly = /^(node:.*|ws)$/;

interface Import {
  readonly specifier: string;
  /** Erased before the code runs. */
  readonly typeOnly: boolean;
}

interface Module {
  readonly file: string;
  readonly owner: Package;
  readonly isTest: boolean;
  readonly imports: readonly Import[];
  /** Globals and members that are not for packages without I/O. */
  readonly impurities: readonly string[];
}

/** @returns one line a violation, `file: what is wrong`; none when the workspace keeps its boundaries */
export function findViolations(workspace: Workspace): string[] {
  const modules = new Map<string, Module>();
  const violations: string[] = [];
  for (const [file, text] of workspace.sources) {
    const owner = workspace.packages.find((candidate) => file.startsWith(`${candidate.folder}/`));
    if (owner === undefined) violations.push(`${file}: belongs to no package`);
    else modules.set(file, { file, owner, isTest: isTestFile(file), ...readModule(file, text) });
  }
  for (const module of modules.values()) {
    for (const { specifier } of module.imports) {
      const fault = faultOf(specifier, module, workspace);
      if (fault !== undefined) violations.push(`${module.file}: imports ${specifier}: ${fault}`);
    }
    if (purePackages.has(module.owner.name) && !module.isTest) {
      for (const name of module.impurities) {
        violations.push(`${module.file}: uses ${name}: ${module.owner.name} does no I/O, have it handed in`);
      }
    }
  }
  return [...violations, ...findCycles(modules, workspace), ...findNodeInBrowser(modules, workspace)];
}

function faultOf(specifier: string, module: Module, workspace: Workspace): string | undefined {
  const { file, owner, isTest } = module;
  if (specifier.startsWith(".")) {
    const target = path.posix.join(path.posix.dirname(file), specifier);
    if (!target.startsWith(`${owner.folder}/`)) return "leaves its package; import the other package by its name";
    if (!isTest && isTestFile(target)) return "a test is not for use";
    return undefined;
  }
  if (specifier.startsWith("node:")) {
    if (purePackages.has(owner.name) && !isTest) return `${owner.name} does no I/O`;
    return reservedFault(specifier, file, isTest);
  }
  const dependency = specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
  if (dependency.startsWith("@sotto/")) {
    const allowed = arrows[owner.name];
    if (allowed !== undefined && dependency !== owner.name && !allowed.includes(dependency)) {
      return `${owner.name} may import ${allowed.join(", ") || "nothing of ours"}`;
    }
    if (resolveEntry(specifier, workspace) === undefined) return `${dependency} has no such entry in its exports`;
  }
  const declared =
    owner.dependencies.has(dependency) ||
    (isTest && (owner.devDependencies.has(dependency) || workspace.rootDependencies.has(dependency)));
  if (!declared && dependency !== owner.name) return "is not declared in its package.json";
  return reservedFault(specifier, file, isTest);
}

function reservedFault(specifier: string, file: string, isTest: boolean): string | undefined {
  if (isTest) return undefined;
  return reserved.find((rule) => rule.what.test(specifier) && file.startsWith(rule.within) && !rule.only.test(file))
    ?.why;
}

function isTestFile(file: string): boolean {
  return !file.startsWith("packages/") || file.endsWith(".test.ts") || file.includes("/src/testing/");
}

function resolveEntry(specifier: string, { packages }: Workspace): string | undefined {
  const target = packages.find(({ name }) => specifier === name || specifier.startsWith(`${name}/`));
  return target?.entries.get(`.${specifier.slice(target.name.length)}`);
}

/** The workspace's file that an import names, if it names one. */
function resolveFile(specifier: string, from: string, workspace: Workspace): string | undefined {
  if (!specifier.startsWith(".")) return resolveEntry(specifier, workspace);
  return path.posix.join(path.posix.dirname(from), specifier);
}

/** Cycles of imports that are there when the code runs, one for each file that closes one. */
function findCycles(modules: ReadonlyMap<string, Module>, workspace: Workspace): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (file: string) => {
    const start = trail.indexOf(file);
    if (start >= 0) cycles.push(`${file}: is part of a cycle: ${[...trail.slice(start), file].join(" → ")}`);
    const module = modules.get(file);
    if (start >= 0 || done.has(file) || module === undefined) return;
    trail.push(file);
    for (const { specifier, typeOnly } of module.imports) {
      const target = typeOnly ? undefined : resolveFile(specifier, file, workspace);
      if (target !== undefined) visit(target);
    }
    trail.pop();
    done.add(file);
  };
  for (const file of modules.keys()) visit(file);
  return cycles;
}

function findNodeInBrowser(modules: ReadonlyMap<string, Module>, workspace: Workspace): string[] {
  const found: string[] = [];
  const seen = new Set<string>();
  const visit = (file: string, trail: readonly string[]) => {
    const module = modules.get(file);
    if (module === undefined || seen.has(file)) return;
    seen.add(file);
    for (const { specifier, typeOnly } of module.imports) {
      if (typeOnly) continue;
      if (nodeOnly.test(specifier)) {
        found.push(`${file}: imports ${specifier}, and browsers load it: ${[...trail, file].join(" → ")}`);
      }
      const target = resolveFile(specifier, file, workspace);
      if (target !== undefined) visit(target, [...trail, file]);
    }
  };
  for (const entry of browserEntries) visit(entry, []);
  return found;
}

function readModule(file: string, text: string): { imports: Import[]; impurities: string[] } {
  const { module, program, errors } = parseSync(file, text);
  const [error] = errors;
  if (error !== undefined) throw new Error(`${file} cannot be parsed: ${error.message}`);

  const imports: Import[] = [];
  for (const { moduleRequest, entries } of module.staticImports) {
    const typeOnly = entries.length > 0 && entries.every((entry) => entry.isType);
    imports.push({ specifier: moduleRequest.value, typeOnly });
  }
  for (const { entries } of module.staticExports) {
    for (const { moduleRequest, isType } of entries) {
      if (moduleRequest !== null) imports.push({ specifier: moduleRequest.value, typeOnly: isType });
    }
  }
  const impurities: string[] = [];
  walk(program as unknown as Node, undefined, (node, parent) => {
    if (node.type === "ImportExpression" || node.type === "TSImportType") {
      const source = node["source"] as Node;
      const typeOnly = node.type === "TSImportType";
      if (typeof source["value"] === "string") imports.push({ specifier: source["value"], typeOnly });
    }
    if (node.type === "Identifier" && isReference(node, parent) && impureGlobals.has(node["name"] as string)) {
      impurities.push(node["name"] as string);
    }
    if (node.type === "MemberExpression") {
      const [object, property] = [node["object"] as Node, node["property"] as Node];
      const name = `${memberName(object)}.${memberName(property)}`;
      if (impureMembers.has(name)) impurities.push(name);
      if (memberName(object) === "globalThis" && impureGlobals.has(memberName(property))) impurities.push(name);
    }
    if (node.type === "NewExpression" && memberName(node["callee"] as Node) === "Date") {
      if ((node["arguments"] as Node[]).length === 0) impurities.push("new Date()");
    }
  });
  return { imports, impurities };
}

type Node = { readonly type: string } & Record<string, unknown>;

function walk(node: Node, parent: Node | undefined, visit: (node: Node, parent: Node | undefined) => void): void {
  visit(node, parent);
  for (const key of visitorKeys[node.type] ?? []) {
    const child = node[key] as Node | (Node | null)[] | null | undefined;
    for (const one of Array.isArray(child) ? child : [child]) if (one != null) walk(one, node, visit);
  }
}

/** Whether an identifier stands for a variable, and is not the name of a member, of a property or in a type. */
function isReference(node: Node, parent: Node | undefined): boolean {
  if (parent === undefined || parent.type.startsWith("TS")) return false;
  if (parent["computed"] === true) return true;
  return parent["property"] !== node && (parent["key"] !== node || parent["shorthand"] === true);
}

/** The last name of `Date`, `globalThis.Date`, `x["now"]`. */
function memberName(node: Node): string {
  if (node.type === "Identifier") return node["name"] as string;
  if (node.type === "Literal") return String(node["value"]);
  return node.type === "MemberExpression" ? memberName(node["property"] as Node) : "";
}
