/** What the programs of suites.ts have in common: their arguments, and the line of JSON at the end. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { SuiteReport } from "./suites.ts";

export interface SuiteArguments {
  readonly minutes: number;
  readonly from: number;
  readonly step: number;
}

export function readSuiteArguments(): SuiteArguments {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "1" },
      from: { type: "string", default: "1" },
      step: { type: "string", default: "1" },
    },
  });
  return { minutes: Number(values.minutes), from: Number(values.from), step: Number(values.step) };
}

export function reportSuite(report: Omit<SuiteReport, "cpuMs">): void {
  const { user, system } = process.cpuUsage();
  const cpuMs = (user + system) / 1000 + childrenCpuMs();
  console.log(JSON.stringify({ ...report, cpuMs } satisfies SuiteReport));
}

/** Linux counts in hundredths of a second (proc_pid_stat(5), cutime and cstime); elsewhere nobody tells. */
const clockTickMs = 10;

/** Of the processes that this one has started and that have ended. */
function childrenCpuMs(): number {
  if (process.platform !== "linux") return 0;
  // The name of the program, in brackets, may hold spaces.
  const fields = readFileSync("/proc/self/stat", "latin1").split(") ")[1]!.split(" ");
  return (Number(fields[13]) + Number(fields[14])) * clockTickMs;
}
