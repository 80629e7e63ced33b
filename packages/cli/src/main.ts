/** The program `sotto`: checks that Node is new enough before loading anything that needs it, then runs the command line. */
const nodeMajor = Number(process.versions.node.split(".")[0]);
if (nodeMajor < 26) {
  process.stderr.write(
    `sotto: needs Node 26 or newer, this is ${process.versions.node}\nhint: start it with ./sotto, which brings its own\n`,
  );
  process.exitCode = 7;
} else {
  const [{ run }, { processEnvironment }] = await Promise.all([import("./program.ts"), import("./environment.ts")]);
  process.exitCode = await run(process.argv.slice(2), processEnvironment());
}
