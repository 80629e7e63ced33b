/**
 * `sotto completion SHELL`: a script for bash, zsh or fish that completes verbs, options and their choices. It is made from the
 * commands themselves, so it never lists what the program does not know.
 */
import type { Command, Option } from "commander";
import type { Context } from "../context.ts";
import { write } from "../output.ts";

export type Shell = "bash" | "zsh" | "fish";

interface Verb {
  name: string;
  description: string;
  options: { flags: string[]; description: string; takesValue: boolean; choices: string[] }[];
  /** What the first argument may be, if it is one of a few words. */
  words: string[];
  /** Whether its first argument names a file. */
  takesFile: boolean;
}

export async function completion(context: Context, shell: Shell, program: Command): Promise<void> {
  const verbs = readVerbs(program);
  const script = { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](verbs);
  await write(context.environment.stdout, script);
}

function readVerbs(program: Command): Verb[] {
  return program
    .createHelp()
    .visibleCommands(program)
    .map((command) => ({
      name: command.name(),
      description: command.description(),
      options: optionsOf(command).map(readOption),
      words: wordsOf(command, program),
      takesFile: command.registeredArguments[0]?.name() === "file",
    }));
}

/** Those of its own and of the verbs within it, each once. */
function optionsOf(command: Command): Option[] {
  const all = [command, ...command.commands].flatMap((each) => each.createHelp().visibleOptions(each));
  return [...new Map(all.map((option) => [option.flags, option])).values()];
}

function wordsOf(command: Command, program: Command): string[] {
  const within = command.name() === "help" ? program.commands : command.commands;
  return within.length > 0 ? within.map((each) => each.name()) : (command.registeredArguments[0]?.argChoices ?? []);
}

function readOption(option: Option): Verb["options"][number] {
  const flags = [option.short, option.long].filter((flag) => flag !== undefined);
  return {
    flags,
    description: option.description,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
  };
}

const loadingHint = {
  bash: "source <(sotto completion bash)   # in ~/.bashrc",
  zsh: "source <(sotto completion zsh)   # in ~/.zshrc, after compinit",
  fish: "sotto completion fish > ~/.config/fish/completions/sotto.fish",
};

function bashScript(verbs: Verb[]): string {
  const cases = verbs.map(({ name, options, words, takesFile }) => {
    const values = options
      .filter((option) => option.choices.length > 0)
      .map(
        (option) =>
          `      ${option.flags.join("|")}) COMPREPLY=($(compgen -W "${option.choices.join(" ")}" -- "$current")); return ;;`,
      );
    const files = options
      .filter((option) => option.takesValue && option.choices.length === 0)
      .flatMap((option) => option.flags);
    if (files.length > 0) values.push(`      ${files.join("|")}) COMPREPLY=($(compgen -f -- "$current")); return ;;`);
    const flags = options.flatMap((option) => option.flags.filter((flag) => flag.startsWith("--")));
    return `    ${name})
      case $previous in
${values.join("\n")}
      esac
      COMPREPLY=($(compgen ${takesFile ? "-f " : ""}-W "${[...words, ...flags].join(" ")}" -- "$current")) ;;`;
  });
  return `# ${loadingHint.bash}
_sotto() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} verb= word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      ${verbs.map(({ name }) => name).join("|")}) verb=$word; break ;;
    esac
  done
  case $verb in
    "") COMPREPLY=($(compgen -W "${verbs.map(({ name }) => name).join(" ")}" -- "$current")) ;;
${cases.join("\n")}
  esac
}
complete -F _sotto sotto
`;
}

function zshScript(verbs: Verb[]): string {
  const quoted = (text: string) => text.replaceAll("'", "'\\''").replace(/[[\]:]/g, "\\$&");
  const cases = verbs.map(({ name, options, words, takesFile }) => {
    const specs = options.flatMap((option) =>
      option.flags.map((flag) => {
        const value =
          option.choices.length > 0 ? `:value:(${option.choices.join(" ")})` : option.takesValue ? ":value:_files" : "";
        return `'${flag}[${quoted(option.description)}]${value}'`;
      }),
    );
    if (words.length > 0) specs.push(`'1:word:(${words.join(" ")})'`);
    if (takesFile) specs.push("'1:file:_files'");
    return `        ${name}) _arguments ${specs.join(" ")} ;;`;
  });
  return `#compdef sotto
# ${loadingHint.zsh}
_sotto() {
  local line state
  _arguments -C '1:verb:->verb' '*::argument:->argument'
  case $state in
    verb)
      local -a verbs=(${verbs.map(({ name, description }) => `'${name}:${quoted(description)}'`).join(" ")})
      _describe verb verbs ;;
    argument)
      case $line[1] in
${cases.join("\n")}
      esac ;;
  esac
}
compdef _sotto sotto
`;
}

function fishScript(verbs: Verb[]): string {
  const quoted = (text: string) => text.replaceAll("\\", "\\\\").replaceAll("'", "\\'");
  const lines = [`# ${loadingHint.fish}`, "complete -c sotto -f"];
  for (const { name, description, options, words, takesFile } of verbs) {
    lines.push(`complete -c sotto -n __fish_use_subcommand -a ${name} -d '${quoted(description)}'`);
    const after = `complete -c sotto -n '__fish_seen_subcommand_from ${name}'`;
    if (words.length > 0) lines.push(`${after} -a '${words.join(" ")}'`);
    if (takesFile) lines.push(`${after} -F`);
    for (const option of options) {
      const flags = option.flags
        .map((flag) => (flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`))
        .join(" ");
      const value =
        option.choices.length > 0 ? ` -x -a '${option.choices.join(" ")}'` : option.takesValue ? " -r -F" : "";
      lines.push(`${after} ${flags}${value} -d '${quoted(option.description)}'`);
    }
  }
  return `${lines.join("\n")}\n`;
}
