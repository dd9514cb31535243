/**
 * Debuggers, memory inspectors and traffic analyzers by name, in the forms in which they really run.
 *
 * A process has several names: the kernel's (15 bytes), its executable's, its first argument's, the script's when an
 * interpreter runs it, the class's when Java does, the Windows program's when Wine does. Any of them may match.
 *
 * Limits:  names are the weakest sign: anybody can rename a file. What a renamed tool does is seen by its effect.
 * Source:  the process lists of the tools themselves; test/vectors/proc holds them as they were seen
 * Proof:   test/unit/layers/6-tools.test.ts
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
  /** Java classes and packages (beginnings). */
  readonly classes?: readonly string[];
};

export const tools: readonly Tool[] = [
  // Debuggers
  { id: 'gdb', title: 'GDB', kind: 'debugger', names: ['gdb', 'gdbserver', 'gdb-multiarch', 'gdb-minimal', 'gdbtui', 'cgdb', 'pwndbg', 'gdb-oneapi'] },
  { id: 'lldb', title: 'LLDB', kind: 'debugger', names: ['lldb', 'lldb-server', 'lldb-mi', 'lldb-vscode', 'lldb-dap', 'debugserver'] },
  { id: 'rr', title: 'rr', kind: 'debugger', names: ['rr'] },
  { id: 'edb', title: 'edb', kind: 'debugger', names: ['edb', 'edb-debugger'] },
  { id: 'x64dbg', title: 'x64dbg', kind: 'debugger', names: ['x64dbg', 'x32dbg', 'x96dbg', 'x64dbg-unsigned'] },
  { id: 'windbg', title: 'WinDbg', kind: 'debugger', names: ['windbg', 'windbgx', 'cdb', 'ntsd', 'kd', 'dbgx.shell', 'dbgsrv', 'enghost'] },
  { id: 'ollydbg', title: 'OllyDbg', kind: 'debugger', names: ['ollydbg', 'immunitydebugger'] },
  { id: 'ghidra', title: 'Ghidra', kind: 'debugger', names: ['ghidra', 'ghidrarun', 'pyghidrarun', 'analyzeheadless'], scripts: ['pyghidra', 'pyghidra_launcher'], classes: ['ghidra.'] },
  { id: 'ida', title: 'IDA', kind: 'debugger', names: ['ida', 'ida32', 'ida64', 'idat', 'idat32', 'idat64', 'idaq', 'idaq64', 'idal', 'idal64', 'idaw', 'idaw64', 'linux_server', 'linux_server64', 'win64_remote64', 'dbgsrv_linux'] },
  { id: 'binaryninja', title: 'Binary Ninja', kind: 'debugger', names: ['binaryninja'] },
  { id: 'radare2', title: 'radare2', kind: 'debugger', names: ['radare2', 'r2', 'r2agent', 'r2r', 'iaito'] },
  { id: 'rizin', title: 'Rizin', kind: 'debugger', names: ['rizin', 'rz-gdb', 'cutter-re'], starts: ['cutter-v'] },
  { id: 'delve', title: 'Delve', kind: 'debugger', names: ['dlv'] },

  // Tracers
  { id: 'strace', title: 'strace', kind: 'tracer', names: ['strace', 'strace64', 'strace-log-merge'] },
  { id: 'ltrace', title: 'ltrace', kind: 'tracer', names: ['ltrace', 'uftrace', 'latrace'] },
  { id: 'perf', title: 'perf', kind: 'tracer', names: ['perf', 'trace-cmd', 'kernelshark'] },
  { id: 'bpftrace', title: 'bpftrace or BCC', kind: 'tracer', names: ['bpftrace', 'bpftool', 'opensnoop-bpfcc', 'execsnoop-bpfcc', 'trace-bpfcc', 'sslsniff-bpfcc'], scripts: ['trace-bpfcc', 'argdist-bpfcc', 'sslsniff-bpfcc', 'opensnoop-bpfcc', 'funccount-bpfcc', 'tcpdump-bpfcc', 'ttysnoop-bpfcc', 'bashreadline-bpfcc'] },
  { id: 'systemtap', title: 'SystemTap', kind: 'tracer', names: ['stap', 'stapio', 'staprun'] },
  { id: 'sysdig', title: 'sysdig', kind: 'tracer', names: ['sysdig', 'csysdig'] },
  { id: 'frida', title: 'Frida', kind: 'tracer', names: ['frida', 'frida-server', 'frida-trace', 'frida-inject', 'frida-portal', 'frida-discover', 'frida-helper', 'frida-helper-64', 'frida-helper-32', 'objection'], starts: ['frida-server-', 'frida-inject-'], scripts: ['frida', 'frida-trace', 'frida-discover', 'frida-ps', 'frida_tools', 'objection'] },

  // Memory inspectors
  { id: 'gcore', title: 'gcore', kind: 'memory inspector', names: ['gcore', 'procdump', 'procdump64', 'procdump64a', 'coredumper', 'minidump_stackwalk'], scripts: ['gcore'] },
  { id: 'volatility', title: 'Volatility', kind: 'memory inspector', names: ['volatility', 'volatility3', 'volshell', 'vol.py'], starts: ['volatility_'], scripts: ['vol', 'volatility', 'volatility3', 'volshell'] },
  { id: 'avml', title: 'AVML', kind: 'memory inspector', names: ['avml', 'avml-minimal', 'avml-convert', 'fmem', 'linpmem', 'memdump', 'memfetch'] },
  { id: 'scanmem', title: 'scanmem', kind: 'memory inspector', names: ['scanmem', 'gameconqueror', 'pince', 'mempeek'], scripts: ['gameconqueror', 'pince'] },
  { id: 'cheatengine', title: 'Cheat Engine', kind: 'memory inspector', names: ['cheat engine', 'cheatengine', 'ceserver'], starts: ['cheatengine-', 'cheatengine'] },
  { id: 'processhacker', title: 'Process Hacker or System Informer', kind: 'memory inspector', names: ['processhacker', 'systeminformer', 'procexp', 'procexp64', 'procmon', 'procmon64', 'procmon64a'] },
  { id: 'pyspy', title: 'py-spy', kind: 'memory inspector', names: ['py-spy', 'rbspy', 'pystack', 'pyrasite'], scripts: ['py-spy', 'pystack', 'pyrasite', 'pyrasite-shell'] },
  { id: 'drgn', title: 'drgn', kind: 'memory inspector', names: ['drgn'], scripts: ['drgn'] },

  // Traffic analyzers
  { id: 'wireshark', title: 'Wireshark', kind: 'traffic analyzer', names: ['wireshark', 'wireshark-gtk', 'wireshark-qt', 'tshark', 'dumpcap', 'rawshark', 'stratoshark', 'termshark', 'sharkd'] },
  { id: 'tcpdump', title: 'tcpdump', kind: 'traffic analyzer', names: ['tcpdump', 'windump', 'tcpflow', 'tcpick', 'ngrep', 'ssldump', 'netsniff-ng', 'dsniff', 'snort', 'pktmon', 'pktcap'] },
  { id: 'ettercap', title: 'Ettercap or bettercap', kind: 'traffic analyzer', names: ['ettercap', 'bettercap'] },
  { id: 'fiddler', title: 'Fiddler', kind: 'traffic analyzer', names: ['fiddler', 'fiddler everywhere', 'fiddler-everywhere', 'fiddlereverywhere', 'fiddler.webui', 'fiddlercap'], starts: ['fiddler-everywhere', 'fiddler everywhere'], scripts: ['fiddler'] },
  { id: 'mitmproxy', title: 'mitmproxy', kind: 'traffic analyzer', names: ['mitmproxy', 'mitmdump', 'mitmweb', 'mitmproxy-linux-redirector', 'mitmproxy-redirector'], scripts: ['mitmproxy', 'mitmdump', 'mitmweb'] },
  { id: 'burp', title: 'Burp Suite', kind: 'traffic analyzer', names: ['burpsuite', 'burp', 'burpsuitepro', 'burpsuitecommunity'], starts: ['burpsuite', 'burp-'], scripts: ['burpsuite'], classes: ['burp.'] },
  { id: 'zap', title: 'ZAP', kind: 'traffic analyzer', names: ['zaproxy', 'zap.sh', 'owasp-zap'], starts: ['zap-'], classes: ['org.zaproxy.'] },
  { id: 'charles', title: 'Charles', kind: 'traffic analyzer', names: ['charles'], classes: ['com.xk72.charles'] },
];

/** What a name is looked up from. */
export type Named = { readonly name: string; readonly argv: readonly string[]; readonly executable: string };

/** Programs that run other programs named in their arguments. */
const interpreters: ReadonlySet<string> = new Set(['sh', 'bash', 'dash', 'zsh', 'ksh', 'busybox', 'python', 'pypy', 'perl', 'ruby', 'node', 'nodejs', 'electron', 'mono', 'mono-sgen', 'dotnet', 'ld-linux-x86-64.so', 'ld-linux-aarch64.so', 'ld.so', 'pkexec', 'uv', 'pipx']);
/** Programs that run Windows programs; the path of the program is their argument or their own first one. */
const emulators: ReadonlySet<string> = new Set(['wine', 'wine64', 'wine-preloader', 'wine64-preloader', 'proton', 'box64', 'box86']);
/** Options of Java that take the next argument. */
const javaValues: ReadonlySet<string> = new Set(['-cp', '-classpath', '--class-path', '-p', '--module-path', '--add-modules', '--add-opens', '--add-exports', '--add-reads', '-m', '--module']);

/** The last part of a Unix or Windows path, lower case, without `.exe`, " (deleted)" and a trailing version. */
export function baseName(path: string): string {
  const cut = Math.max(path.lastIndexOf('/'), /^[A-Za-z]:\\/.test(path) ? path.lastIndexOf('\\') : -1);
  return path
    .slice(cut + 1)
    .replace(/ \(deleted\)$/, '')
    .toLowerCase()
    .replace(/\.(exe|bin|appimage)$/, '')
    .replace(/(?<=[a-z])[-_.]?\d+(\.\d+)+$/, '')
    .replace(/(?<=[a-z])[-_.]\d+$/, '');
}

function scriptName(path: string): string {
  return baseName(path).replace(/\.(py|pyz|sh|pl|rb|js|mjs|jar|dll)$/, '');
}

type Names = { readonly plain: string[]; readonly scripts: string[]; readonly classes: string[] };

/** Every name under which a process may be known. */
export function namesOf(process: Named): Names {
  const { argv } = process;
  const first = argv[0] ?? '';
  // A process may replace its arguments by one title: `nginx: worker`. Only a path may hold blanks.
  const plain = [baseName(process.name), baseName(process.executable), baseName(first)];
  const scripts: string[] = [];
  const classes: string[] = [];
  const runs = (known: ReadonlySet<string>): boolean => plain.some((name) => known.has(name) || known.has(name.replace(/\d+(\.\d+)?$/, '')));
  if (plain.includes('java') || plain.includes('javaw')) {
    for (let i = 1; i < argv.length; i += 1) {
      const word = argv[i] ?? '';
      if (word === '-jar') {
        scripts.push(scriptName(argv[i + 1] ?? ''));
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
  } else if (runs(interpreters) || runs(emulators)) {
    for (let i = 1; i < argv.length; i += 1) {
      const word = argv[i] ?? '';
      if (word === '-m' || word === '-x') {
        scripts.push((argv[i + 1] ?? '').toLowerCase().split('.')[0] ?? '');
        break;
      }
      if (word === '-c' || word === '-e') break; // a program in the argument itself
      if (word.startsWith('-')) continue;
      scripts.push(scriptName(word));
      if (runs(emulators) || /\.(exe|dll)$/i.test(word) || word.startsWith('/')) plain.push(baseName(word));
      break;
    }
  }
  return { plain: plain.filter((name) => name !== ''), scripts: scripts.filter((name) => name !== ''), classes };
}

const byName = new Map<string, Tool>();
const byKernelName = new Map<string, Tool>();
const byScript = new Map<string, Tool>();
for (const tool of tools) {
  for (const name of tool.names) {
    byName.set(name, tool);
    if (name.length > 15) byKernelName.set(name.slice(0, 15), tool);
  }
  for (const script of tool.scripts ?? []) byScript.set(script, tool);
}

/** The named tool that a process is, or `undefined`. */
export function nameTool(process: Named): Tool | undefined {
  const names = namesOf(process);
  for (const name of names.plain) {
    const exact = byName.get(name);
    if (exact !== undefined) return exact;
  }
  const cut = byKernelName.get(process.name.toLowerCase());
  if (cut !== undefined && process.name.length === 15) return cut;
  for (const script of names.scripts) {
    const exact = byScript.get(script);
    if (exact !== undefined) return exact;
  }
  return tools.find(
    (tool) =>
      tool.starts?.some((start) => [...names.plain, ...names.scripts].some((name) => name.startsWith(start))) === true ||
      tool.classes?.some((start) => names.classes.some((name) => name.startsWith(start))) === true,
  );
}
