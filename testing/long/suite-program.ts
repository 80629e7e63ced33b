/** What the programs of suites.ts have in common: their arguments, and the line of JSON at the end. */
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
  console.log(JSON.stringify({ ...report, cpuMs: (user + system) / 1000 } satisfies SuiteReport));
}
