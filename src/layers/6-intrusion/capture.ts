/**
 * Captures of loopback traffic by any process: packet sockets for all protocols, raw TCP sockets.
 *
 * Counted are packet sockets for every protocol on the loopback interface or on all interfaces, packet sockets for
 * IP alone that are bound to the loopback interface (nothing benign listens there), and raw sockets for TCP, which
 * get a copy of every TCP packet. A packet socket with a protocol of its own (DHCP, Wi-Fi, LLDP) or on another
 * interface is nobody's business of ours (L6-22).
 *
 * Limits:  not eBPF, not a capture inside the kernel (L6-14).
 * Source:  packet(7), raw(7), net/packet/af_packet.c
 * Proof:   test/unit/layers/6-detectors.test.ts, test/attacks/6-capture.test.ts
 * @module
 */
import type { SocketRow } from '../../linux/nettables.ts';
import { allProtocols, loopbackIndex } from '../../linux/nettables.ts';
import type { Detection, Finding } from './finding.ts';
import { cleanName, clear } from './finding.ts';
import type { Snapshot } from './snapshot.ts';
import { seen } from './snapshot.ts';

const internet: ReadonlySet<number> = new Set([0x0800, 0x86dd]);
const tcp = 6;

/** Whether a socket sees the traffic of the loopback interface. */
export function captures(row: SocketRow): boolean {
  if (row.table === 'packet') {
    if (row.protocol === allProtocols) return row.interface === 0 || row.interface === loopbackIndex;
    return row.interface === loopbackIndex && internet.has(row.protocol);
  }
  return (row.table === 'raw' || row.table === 'raw6') && row.protocol === tcp;
}

/** Captures on the machine's loopback interface. */
export function detectCapture(snapshot: Snapshot): Detection {
  const rows = seen(snapshot.rows);
  if (rows === undefined) return { detector: 'capture', seen: 'unreadable', reason: 'the tables of sockets cannot be read', findings: [] };
  const findings = rows.filter(captures).map((row): Finding => {
    const owner = (seen(snapshot.processes) ?? []).find((process) => process.captures.includes(row.inode));
    return {
      detector: 'capture',
      relation: 'effect',
      pid: owner?.pid ?? 0,
      uid: owner?.uid ?? row.uid,
      name: owner === undefined ? '?' : cleanName(owner.executable === '' ? owner.name : owner.executable),
      what: row.table === 'packet' ? `captures ${row.interface === loopbackIndex ? 'the loopback interface' : 'every interface'}` : 'gets a copy of every TCP packet by a raw socket',
    };
  });
  return { detector: 'capture', ...clear, findings };
}
