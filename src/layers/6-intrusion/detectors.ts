/**
 * Every detector that judges a snapshot, in one table.
 * @module
 */
import { detectCapture } from './capture.ts';
import { detectGap } from './clock.ts';
import type { Detection } from './finding.ts';
import { detectInspector } from './inspector.ts';
import { detectMappings } from './mappings.ts';
import { detectChildren, detectMemory, detectTools } from './processes.ts';
import type { Snapshot } from './snapshot.ts';
import { detectSockets } from './sockets.ts';
import { detectJail, detectStopped, detectTracer } from './tracer.ts';

/** The gap of the process that scans. */
function detectClock(snapshot: Snapshot): Detection {
  const self = snapshot.watched.targets.find((target) => target.role === 'watchdog');
  return detectGap(snapshot.before, snapshot.clocks, snapshot.intervalMs, { role: 'watchdog', pid: self?.pid ?? 0, uid: snapshot.ownUid });
}

/** The detectors of the watchdog, in the order in which they are reported. */
export const detectors: readonly ((snapshot: Snapshot) => Detection)[] = [
  detectTracer,
  detectStopped,
  detectJail,
  detectInspector,
  detectSockets,
  detectChildren,
  detectMemory,
  detectCapture,
  detectTools,
  detectMappings,
  detectClock,
];

/** What all of them say about one scan. */
export function detectAll(snapshot: Snapshot): Detection[] {
  return detectors.map((detect) => detect(snapshot));
}
