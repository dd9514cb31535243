/**
 * Memory inspectors and traffic analyzers, with the names under which they run.
 *
 * Source: process lists recorded while the tools ran, kept in test/vectors/proc
 * Proof:  test/unit/layers/6-known-tools.test.ts
 * @module
 */
import type { Tool } from './tool.ts';

export const memoryInspectors: readonly Tool[] = [
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
];

export const trafficAnalyzers: readonly Tool[] = [
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
