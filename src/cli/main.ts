/**
 * The command table. `serve` replaces this process with the supervisor; every other command runs in this process. Each
 * is imported only when it runs: loading all of them would double the time of the shortest.
 *
 * Promise: a command that loads packages first verifies the installation, as the server does, and then loads only
 *          verified bytes. The other commands load only Node and Kwyre's own files.
 * Proof:   test/attacks/3-commands.test.ts
 * @module
 */
import { join } from 'node:path';
import { nodeFlags } from '../policy/node-flags.ts';
import { extension, programFolder, root } from '../installation/paths.ts';
import { KwyreError } from '../base/errors.ts';
import { guardConsole } from '../base/untrusted-text.ts';
import { version } from '../base/version.ts';
import type { VerifiedTree } from '../layers/3-dependencies/types.ts';
import { ignoreAgain } from '../linux/ignored-signals.ts';
import { defaultStateDirectory } from '../state/state-directory.ts';
import { depsUsage, modelUsage } from './help.ts';

type Command = {
  readonly usage: string;
  readonly what: string;
  /** Its actions and flags, one per line. */
  readonly more?: string;
  readonly run: (args: readonly string[]) => Promise<number> | number;
};

/** Verifies the installation; this process then loads only verified bytes. @throws `L3_*` (exit 13) */
async function loadVerified(args: readonly string[]): Promise<VerifiedTree> {
  const { loadOnly, verifyOwnTree } = await import('../installation/own-tree.ts');
  // The state folder is needed here, before the command is loaded and parses its flags.
  const at = args.findIndex((word) => word === '--state' || word.startsWith('--state='));
  const given = args[at]?.startsWith('--state=') === true ? args[at].slice('--state='.length) : args[at + 1];
  const tree = verifyOwnTree(root, (at < 0 ? undefined : given) ?? defaultStateDirectory(process.env));
  await loadOnly(tree);
  return tree;
}

const commands: Readonly<Record<string, Command>> = {
  serve: {
    usage:
      'serve [--port 8000] [--socket PATH] [--model NAME|PATH] [--state DIR] [--ctx N] [--parallel N] ' +
      '[--threads N] [--weights auto|memfd|file] [--kv sealed|drop|keep] [--continue sealed|off] [--idle 1h] ' +
      '[--scan-interval MS] [--acknowledge-tool NAME]... [--acknowledge-violation] [--accept-weaker=FEATURE]...',
    what: 'serves a model on 127.0.0.1',
    run(args) {
      const supervisor = join(programFolder, 'supervisor', `main${extension}`);
      const environment = Object.fromEntries(
        Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
      );
      process.execve?.(process.execPath, [process.execPath, ...nodeFlags, supervisor, ...args], environment);
      return 1;
    },
  },
  chat: {
    usage: 'chat [--state DIR]',
    what: 'starts a conversation in this terminal; no history is written',
    run: async (args) => (await import('./chat.ts')).chat(args),
  },
  status: {
    usage: 'status [--json] [--state DIR]',
    what: 'shows the six layers of the running server',
    run: async (args) => (await import('./status.ts')).status(args),
  },
  wipe: {
    usage: 'wipe [ID | --all] [--json] [--state DIR]',
    what: 'wipes conversations of the running server, or lists them',
    run: async (args) => (await import('./wipe.ts')).wipe(args),
  },
  model: {
    usage: 'model add PATH | list | verify [NAME] | sign PATH | trust KEY.pem | remove NAME',
    what: 'inspects models, approves them by signing, and verifies them',
    more: modelUsage,
    async run(args) {
      await loadVerified(args);
      return await (await import('./model/model-command.ts')).model(args);
    },
  },
  deps: {
    usage: 'deps plan | seal --reason TEXT | verify',
    what: 'lists, signs and verifies every file of this installation',
    more: depsUsage,
    run: async (args) => (await import('./deps/deps-command.ts')).deps(args),
  },
  isolate: {
    usage: 'isolate plan [--remove] | install [--port N] [--owner NAME] | status | remove [--json]',
    what: 'installs the server as a system service with its own user and firewall rules',
    run: async (args) => (await import('./isolate/isolate.ts')).isolate(args),
  },
  prove: {
    usage: 'prove [--json] [--layer 1|2|5]',
    what: 'attacks a second server of this installation and shows what was stopped',
    async run(args) {
      const tree = await loadVerified(args);
      return await (await import('./prove/prove.ts')).prove(args, tree);
    },
  },
  doctor: {
    usage: 'doctor [--json]',
    what: 'reports what this machine can enforce, why, and how to improve it',
    run: async (args) => (await import('./doctor/doctor.ts')).doctor(args),
  },
  token: {
    usage: 'token [link | add NAME | list | revoke NAME] [--json] [--state DIR]',
    what: 'prints the API token or the link to the status page, or manages tokens of applications',
    run: async (args) => (await import('./token.ts')).token(args),
  },
};

function help(): string {
  const lines = Object.entries(commands).map(
    ([name, command]) =>
      `  ./kwyre ${command.usage}\n      ` +
      `${command.what}${command.more === undefined ? '' : `; more: ./kwyre help ${name}`}`,
  );
  return (
    `Kwyre ${version}: a local LLM server that proves nothing leaves this ` +
    `machine.\n\n${lines.join('\n')}\n\nExit codes: 0 success, 2 wrong usage, 10+N refused by layer N, 1 any ` +
    'other failure.'
  );
}

async function main(args: readonly string[]): Promise<number> {
  const [name = 'help', ...rest] = args;
  if (name === '--version' || name === 'version') {
    console.log(version);
    return 0;
  }
  const wantsHelp = name === 'help' || name === '--help' || name === '-h';
  const [subject] = rest;
  if (wantsHelp && subject === undefined) {
    console.log(help());
    return 0;
  }
  const wanted = wantsHelp ? (subject ?? '') : name;
  const command = Object.hasOwn(commands, wanted) ? commands[wanted] : undefined;
  if (command === undefined)
    throw new KwyreError('USAGE_COMMAND_UNKNOWN', 'there is no such command', './kwyre help lists the commands');
  if (wantsHelp || rest.includes('--help')) {
    console.log(
      `./kwyre ${command.usage}\n    ${command.what}${command.more === undefined ? '' : `\n${command.more}`}`,
    );
    return 0;
  }
  return await command.run(rest);
}

guardConsole(console);
process.exitCode = 1;
// A reader that has seen enough (`| head`) ends the command without a word, as in any other program.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
ignoreAgain(process);
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof KwyreError)) throw error;
  console.error(`kwyre: ${error.message}${error.remedy === '' ? '' : `\n  next: ${error.remedy}`}`);
  process.exitCode = error.exitCode;
}
