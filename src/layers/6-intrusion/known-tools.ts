/**
 * Debuggers, memory inspectors and traffic analyzers by name, in the forms in which they really run.
 *
 * A tool is known by the file that is executed: by its name, or by the script, class or Windows program that it runs
 * where it is an interpreter. What a process calls itself is no sign: a title may hold words of whoever it serves
 * (`proftpd: RETR /pub/charles`). Only where the file is hidden from us must the kernel's name and the first argument
 * agree. Names that are also those of other programs (`burp` makes backups, `cdb` reads constant databases) are no
 * sign.
 *
 * Limits:  names are the weakest sign: anybody can rename a file. What a renamed tool does is seen by its effect.
 * Source:  the process lists of the tools themselves; test/vectors/proc holds them as they were seen
 * Proof:   test/unit/layers/6-known-tools.test.ts, test/attacks/6-innocents.test.ts
 * @module
 */

export type Tool = {
  /** Stable id, also the word by which an operator acknowledges it. */
  readonly id: string;
  readonly title: string;
  readonly kind: 'debugger' | 'memory inspector' | 'traffic analyzer' | 'tracer';
  /** Names of executables, lower case, without `.exe` and version. */
  readonly names: readonly string[];
  /** Beginnings of names, for files that carry a version or an edition. */
  readonly starts?: readonly string[];
  /** Scripts and modules that an interpreter runs, without extension. */
  readonly scripts?: readonly string[];
  /** Java archives, without extension and version. */
  readonly archives?: readonly string[];
  /** Java classes and packages (beginnings). */
  readonly classes?: readonly string[];
  /** Runs on Windows only: on Linux the names mean it under an emulator, and other programs by themselves. */
  readonly windows?: true;
};

export const tools: readonly Tool[] = [
  // Debuggers
  {
    id: 'gdb',
    title: 'GDB',
    kind: 'debugger',
    names: ['gdb', 'gdbserver', 'gdb-multiarch', 'gdb-minimal', 'gdbtui', 'cgdb', 'pwndbg', 'gdb-oneapi'],
  },
  {
    id: 'lldb',
    title: 'LLDB',
    kind: 'debugger',
    names: ['lldb', 'lldb-server', 'lldb-mi', 'lldb-vscode', 'lldb-dap', 'debugserver'],
  },
  { id: 'rr', title: 'rr', kind: 'debugger', names: ['rr'] },
  { id: 'edb', title: 'edb', kind: 'debugger', names: ['edb', 'edb-debugger'] },
  {
    id: 'x64dbg',
    title: 'x64dbg',
    kind: 'debugger',
    names: ['x64dbg', 'x32dbg', 'x96dbg', 'x64dbg-unsigned'],
    windows: true,
  },
  {
    id: 'windbg',
    title: 'WinDbg',
    kind: 'debugger',
    names: ['windbg', 'windbgx', 'cdb', 'ntsd', 'kd', 'dbgx.shell', 'dbgsrv', 'enghost'],
    windows: true,
  },
  { id: 'ollydbg', title: 'OllyDbg', kind: 'debugger', names: ['ollydbg', 'immunitydebugger'], windows: true },
  {
    id: 'ghidra',
    title: 'Ghidra',
    kind: 'debugger',
    names: ['ghidra', 'ghidrarun', 'pyghidrarun', 'analyzeheadless'],
    scripts: ['pyghidra', 'pyghidra_launcher'],
    classes: ['ghidra.'],
  },
  {
    id: 'ida',
    title: 'IDA',
    kind: 'debugger',
    names: [
      'ida',
      'ida32',
      'ida64',
      'idat',
      'idat32',
      'idat64',
      'idaq',
      'idaq64',
      'idal',
      'idal64',
      'idaw',
      'idaw64',
      'linux_server',
      'linux_server64',
      'win64_remote64',
      'dbgsrv_linux',
    ],
  },
  { id: 'binaryninja', title: 'Binary Ninja', kind: 'debugger', names: ['binaryninja'] },
  { id: 'radare2', title: 'radare2', kind: 'debugger', names: ['radare2', 'r2', 'r2agent', 'r2r', 'iaito'] },
  { id: 'rizin', title: 'Rizin', kind: 'debugger', names: ['rizin', 'rz-gdb', 'cutter-re'], starts: ['cutter-v'] },
  { id: 'delve', title: 'Delve', kind: 'debugger', names: ['dlv'] },

  // Tracers
  { id: 'strace', title: 'strace', kind: 'tracer', names: ['strace', 'strace64', 'strace-log-merge'] },
  { id: 'ltrace', title: 'ltrace', kind: 'tracer', names: ['ltrace', 'uftrace', 'latrace'] },
  { id: 'perf', title: 'perf', kind: 'tracer', names: ['perf', 'trace-cmd', 'kernelshark'] },
  {
    id: 'bpftrace',
    title: 'bpftrace or BCC',
    kind: 'tracer',
    names: ['bpftrace', 'bpftool', 'opensnoop-bpfcc', 'execsnoop-bpfcc', 'trace-bpfcc', 'sslsniff-bpfcc'],
    scripts: [
      'trace-bpfcc',
      'argdist-bpfcc',
      'sslsniff-bpfcc',
      'opensnoop-bpfcc',
      'funccount-bpfcc',
      'tcpdump-bpfcc',
      'ttysnoop-bpfcc',
      'bashreadline-bpfcc',
    ],
  },
  { id: 'systemtap', title: 'SystemTap', kind: 'tracer', names: ['stap', 'stapio', 'staprun'] },
  { id: 'sysdig', title: 'sysdig', kind: 'tracer', names: ['sysdig', 'csysdig'] },
  {
    id: 'frida',
    title: 'Frida',
    kind: 'tracer',
    names: [
      'frida',
      'frida-server',
      'frida-trace',
      'frida-inject',
      'frida-portal',
      'frida-discover',
      'frida-helper',
      'frida-helper-64',
      'frida-helper-32',
      'objection',
    ],
    starts: ['frida-server-', 'frida-inject-'],
    scripts: ['frida', 'frida-trace', 'frida-discover', 'frida-ps', 'frida_tools', 'objection'],
  },

  // Memory inspectors
  {
    id: 'gcore',
    title: 'gcore',
    kind: 'memory inspector',
    names: ['gcore', 'procdump', 'procdump64', 'procdump64a', 'coredumper', 'minidump_stackwalk'],
    scripts: ['gcore'],
  },
  {
    id: 'volatility',
    title: 'Volatility',
    kind: 'memory inspector',
    names: ['volatility', 'volatility3', 'volshell', 'vol.py'],
    starts: ['volatility_'],
    scripts: ['vol', 'volatility', 'volatility3', 'volshell'],
  },
  {
    id: 'avml',
    title: 'AVML',
    kind: 'memory inspector',
    names: ['avml', 'avml-minimal', 'avml-convert', 'fmem', 'linpmem', 'memdump', 'memfetch'],
  },
  {
    id: 'scanmem',
    title: 'scanmem',
    kind: 'memory inspector',
    names: ['scanmem', 'gameconqueror', 'pince', 'mempeek'],
    scripts: ['gameconqueror', 'pince'],
  },
  {
    id: 'cheatengine',
    title: 'Cheat Engine',
    kind: 'memory inspector',
    names: ['cheat engine', 'cheatengine', 'ceserver'],
    starts: ['cheatengine-', 'cheatengine'],
  },
  {
    id: 'processhacker',
    title: 'Process Hacker or System Informer',
    kind: 'memory inspector',
    names: ['processhacker', 'systeminformer', 'procexp', 'procexp64', 'procmon64', 'procmon64a'],
    windows: true,
  },
  {
    id: 'pyspy',
    title: 'py-spy',
    kind: 'memory inspector',
    names: ['py-spy', 'rbspy', 'pystack', 'pyrasite'],
    scripts: ['py-spy', 'pystack', 'pyrasite', 'pyrasite-shell'],
  },
  { id: 'drgn', title: 'drgn', kind: 'memory inspector', names: ['drgn'], scripts: ['drgn'] },

  // Traffic analyzers
  {
    id: 'wireshark',
    title: 'Wireshark',
    kind: 'traffic analyzer',
    names: [
      'wireshark',
      'wireshark-gtk',
      'wireshark-qt',
      'tshark',
      'dumpcap',
      'rawshark',
      'stratoshark',
      'termshark',
      'sharkd',
    ],
  },
  {
    id: 'tcpdump',
    title: 'tcpdump',
    kind: 'traffic analyzer',
    names: [
      'tcpdump',
      'windump',
      'tcpflow',
      'tcpick',
      'ngrep',
      'ssldump',
      'netsniff-ng',
      'dsniff',
      'snort',
      'pktmon',
      'pktcap',
    ],
  },
  { id: 'ettercap', title: 'Ettercap or bettercap', kind: 'traffic analyzer', names: ['ettercap', 'bettercap'] },
  {
    id: 'fiddler',
    title: 'Fiddler',
    kind: 'traffic analyzer',
    names: ['fiddler', 'fiddler everywhere', 'fiddler-everywhere', 'fiddlereverywhere', 'fiddler.webui', 'fiddlercap'],
    starts: ['fiddler-everywhere', 'fiddler everywhere'],
    scripts: ['fiddler'],
  },
  {
    id: 'mitmproxy',
    title: 'mitmproxy',
    kind: 'traffic analyzer',
    names: ['mitmproxy', 'mitmdump', 'mitmweb', 'mitmproxy-linux-redirector', 'mitmproxy-redirector'],
    scripts: ['mitmproxy', 'mitmdump', 'mitmweb'],
  },
  {
    id: 'burp',
    title: 'Burp Suite',
    kind: 'traffic analyzer',
    names: ['burpsuite', 'burpsuitepro', 'burpsuitecommunity'],
    starts: ['burpsuite'],
    scripts: ['burpsuite'],
    classes: ['burp.'],
  },
  {
    id: 'zap',
    title: 'ZAP',
    kind: 'traffic analyzer',
    names: ['zaproxy', 'zap.sh', 'owasp-zap'],
    archives: ['zap'],
    classes: ['org.zaproxy.'],
  },
  {
    id: 'charles',
    title: 'Charles',
    kind: 'traffic analyzer',
    names: ['charles-proxy'],
    archives: ['charles'],
    classes: ['com.xk72.charles'],
  },
];

/** What a name is looked up from. */
export type Named = { readonly name: string; readonly argv: readonly string[]; readonly executable: string };

/** Programs that run other programs named in their arguments. */
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
/** Programs that run Windows programs; the path of the program is their argument or their own first one. */
const emulators: ReadonlySet<string> = new Set([
  'wine',
  'wine64',
  'wine-preloader',
  'wine64-preloader',
  'proton',
  'box64',
  'box86',
]);
/** Options of Java that take the next argument. */
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

/** The last part of a Unix or Windows path, lower case, without `.exe`, " (deleted)" and a trailing version. */
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
 * The kernel's name of a process whose file is hidden from us, where its first argument, if we see any, says the same.
 */
function agreedName({ name, argv }: Named): string[] {
  const [first] = argv;
  const last = first?.slice(first.lastIndexOf('/') + 1);
  if (last !== undefined && last.slice(0, kernelNameLength) !== name) return [];
  return [baseName(last ?? name)];
}

/** Every name under which a process may be known. */
export function namesOf(process: Named): Names {
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
        // A launcher's first argument is the class that it starts: `ghidra.GhidraLauncher ghidra.GhidraRun`.
        break;
      }
    }
  } else if (runs(interpreters) || emulated) {
    // A Windows program's own path is the first argument once it runs.
    if (emulated) plain.push(baseName(argv[0] ?? ''));
    for (let i = 1; i < argv.length; i += 1) {
      const word = argv[i] ?? '';
      if (word === '-m' || word === '-x') {
        scripts.push((argv[i + 1] ?? '').toLowerCase().split('.')[0] ?? '');
        break;
      }
      if (word === '-c' || word === '-e') break; // a program in the argument itself
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

/** The named tool that a process is, or `undefined`. */
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

/** The named tool that a process calls itself by the kernel's name for it: worth a line, and nothing else. */
export function claimedTool(process: Named): Tool | undefined {
  const tool =
    byName.get(process.name.toLowerCase()) ??
    (process.name.length === kernelNameLength ? byKernelName.get(process.name.toLowerCase()) : undefined);
  return tool?.windows === true ? undefined : tool;
}
