/**
 * Recognizes debuggers, memory inspectors and traffic analyzers by the names under which they run.
 *
 * A tool is recognized by its executable: by the name of the file, or, if that is an interpreter, by the script, class
 * or Windows program that it runs. The name that a process gives itself is not evidence, because a title may contain
 * text from a client (`proftpd: RETR /pub/charles`). It is used only if the executable is hidden from this user, and
 * then the kernel's name for the process and the first argument must agree. Names that other programs share (`burp`
 * makes backups, `cdb` reads constant databases) are left out.
 *
 * Limits:  names are the weakest evidence, because anyone can rename a file. The other detectors detect what a renamed
 *          tool does.
 * Proof:   test/unit/layers/6-known-tools.test.ts, test/attacks/6-innocents.test.ts
 * @module
 */
import { debuggers, tracers } from './tools/debuggers.ts';
import { memoryInspectors, trafficAnalyzers } from './tools/inspectors.ts';
import type { Tool } from './tools/tool.ts';

export const tools: readonly Tool[] = [...debuggers, ...tracers, ...memoryInspectors, ...trafficAnalyzers];

/** The facts about a process from which its program is identified. */
type Named = { readonly name: string; readonly argv: readonly string[]; readonly executable: string };

/** Programs that run another program named in their arguments. */
const interpreters: ReadonlySet<string> = new Set([
  'sh',
  'bash',
  'dash',
  'zsh',
  'ksh',
  'busybox',
  'python',
  'pypy',
  'perl',
  'ruby',
  'node',
  'nodejs',
  'electron',
  'mono',
  'mono-sgen',
  'dotnet',
  'ld-linux-x86-64.so',
  'ld-linux-aarch64.so',
  'ld.so',
  'pkexec',
  'uv',
  'pipx',
]);
/** Programs that run Windows programs; the Windows program is an argument, or replaces `argv[0]`. */
const emulators: ReadonlySet<string> = new Set([
  'wine',
  'wine64',
  'wine-preloader',
  'wine64-preloader',
  'proton',
  'box64',
  'box86',
]);
/** Java's options that consume the next argument. */
const javaValues: ReadonlySet<string> = new Set([
  '-cp',
  '-classpath',
  '--class-path',
  '-p',
  '--module-path',
  '--add-modules',
  '--add-opens',
  '--add-exports',
  '--add-reads',
  '-m',
  '--module',
]);

/**
 * Returns the last part of a Unix or Windows path in lower case, without `.exe`, ` (deleted)` or a trailing version.
 * @internal
 */
export function baseName(path: string): string {
  const cut = Math.max(path.lastIndexOf('/'), /^[A-Za-z]:\\/.test(path) ? path.lastIndexOf('\\') : -1);
  return path
    .slice(cut + 1)
    .replace(/ \(deleted\)$/, '')
    .replace(/^memfd:/, '')
    .toLowerCase()
    .replace(/\.(exe|bin|appimage)$/, '')
    .replace(/(?<=[a-z])[-_.]?\d+(\.\d+)+$/, '')
    .replace(/(?<=[a-z])[-_.]\d+$/, '');
}

function scriptName(path: string): string {
  return baseName(path).replace(/\.(py|pyz|sh|pl|rb|js|mjs|jar|dll)$/, '');
}

type Names = {
  readonly plain: string[];
  readonly scripts: string[];
  readonly archives: string[];
  readonly classes: string[];
  readonly emulated: boolean;
};

const kernelNameLength = 15;

/**
 * Returns the name of a process whose executable is hidden: the kernel's name for it, unless there is a first argument
 * that does not agree.
 */
function agreedName({ name, argv }: Named): string[] {
  const [first] = argv;
  const last = first?.slice(first.lastIndexOf('/') + 1);
  if (last !== undefined && last.slice(0, kernelNameLength) !== name) return [];
  return [baseName(last ?? name)];
}

/** Returns every name that identifies the program of a process. */
function namesOf(process: Named): Names {
  const { argv } = process;
  const plain = process.executable === '' ? agreedName(process) : [baseName(process.executable)];
  const scripts: string[] = [];
  const archives: string[] = [];
  const classes: string[] = [];
  const runs = (known: ReadonlySet<string>): boolean =>
    plain.some((name) => known.has(name) || known.has(name.replace(/\d+(\.\d+)?$/, '')));
  const emulated = runs(emulators);
  if (plain.includes('java') || plain.includes('javaw')) {
    for (let i = 1; i < argv.length; i += 1) {
      const word = argv[i] ?? '';
      if (word === '-jar') {
        scripts.push(scriptName(argv[i + 1] ?? ''));
        archives.push(scriptName(argv[i + 1] ?? ''));
        break;
      }
      if (javaValues.has(word)) {
        if (word === '-m' || word === '--module') classes.push((argv[i + 1] ?? '').toLowerCase());
        i += 1;
      } else if (/^-D(exe4j|install4j)\.moduleName=/.test(word)) {
        plain.push(baseName(word.slice(word.indexOf('=') + 1)));
      } else if (!word.startsWith('-')) {
        classes.push(word.toLowerCase());
        // The first argument of a launcher is the class that it starts: `ghidra.GhidraLauncher ghidra.GhidraRun`.
        break;
      }
    }
  } else if (runs(interpreters) || emulated) {
    // A running Windows program has its own path as `argv[0]`.
    if (emulated) plain.push(baseName(argv[0] ?? ''));
    for (let i = 1; i < argv.length; i += 1) {
      const word = argv[i] ?? '';
      if (word === '-m' || word === '-x') {
        scripts.push((argv[i + 1] ?? '').toLowerCase().split('.')[0] ?? '');
        break;
      }
      if (word === '-c' || word === '-e') break; // the argument itself is a program
      if (word.startsWith('-')) continue;
      scripts.push(scriptName(word));
      if (emulated || /\.(exe|dll)$/i.test(word) || word.startsWith('/')) plain.push(baseName(word));
      break;
    }
  }
  const named = (name: string): boolean => name !== '';
  return {
    plain: plain.filter(named),
    scripts: scripts.filter(named),
    archives: archives.filter(named),
    classes,
    emulated,
  };
}

const byName = new Map<string, Tool>();
const byKernelName = new Map<string, Tool>();
const byScript = new Map<string, Tool>();
for (const tool of tools) {
  for (const name of tool.names) {
    byName.set(name, tool);
    if (name.length > kernelNameLength) byKernelName.set(name.slice(0, kernelNameLength), tool);
  }
  for (const script of tool.scripts ?? []) byScript.set(script, tool);
}

/** Returns the known tool that a process runs, or `undefined`. */
export function nameTool(process: Named): Tool | undefined {
  const names = namesOf(process);
  const fits = (tool: Tool | undefined): tool is Tool =>
    tool !== undefined && (tool.windows !== true || names.emulated);
  for (const name of names.plain) {
    const exact = byName.get(name);
    if (fits(exact)) return exact;
  }
  const cut =
    process.executable === '' && process.argv.length === 0 && process.name.length === kernelNameLength
      ? byKernelName.get(process.name.toLowerCase())
      : undefined;
  if (fits(cut)) return cut;
  for (const script of names.scripts) {
    const exact = byScript.get(script);
    if (exact !== undefined) return exact;
  }
  return tools.find(
    (tool) =>
      (fits(tool) &&
        tool.starts?.some((start) => [...names.plain, ...names.scripts].some((name) => name.startsWith(start))) ===
          true) ||
      tool.archives?.some((archive) =>
        names.archives.some((name) => name === archive || name.startsWith(`${archive}-`)),
      ) === true ||
      tool.classes?.some((start) => names.classes.some((name) => name.startsWith(start))) === true,
  );
}

/** Returns the known tool whose name a process gave itself. This is only logged, and has no other effect. */
export function claimedTool(process: Named): Tool | undefined {
  const tool =
    byName.get(process.name.toLowerCase()) ??
    (process.name.length === kernelNameLength ? byKernelName.get(process.name.toLowerCase()) : undefined);
  return tool?.windows === true ? undefined : tool;
}
