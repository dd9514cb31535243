/**
 * All detectors of the watchdog in one list.
 * @module
 */
import { detectCapture } from './packet-capture.ts';
import { detectGap } from './lost-time.ts';
import type { Detection } from '../finding.ts';
import { detectInspector } from './inspector.ts';
import { detectMappings } from './code-mappings.ts';
import { detectChildren, detectMemory, detectTools } from './foreign-processes.ts';
import type { Snapshot } from '../scan-result.ts';
import { detectSockets } from './undeclared-sockets.ts';
import { detectJail, detectStopped, detectTracer } from './ptrace.ts';

/** Finds a gap in the clock of the watchdog itself. */
function detectClock(snapshot: Snapshot): Detection {
  const self = snapshot.watched.targets.find((target) => target.role === 'watchdog');
  return detectGap(snapshot.before, snapshot.clocks, snapshot.intervalMs, {
    role: 'watchdog',
    pid: self?.pid ?? 0,
    uid: snapshot.ownUid,
  });
}

/** The detectors, in the order of the report. */
const detectors: readonly ((snapshot: Snapshot) => Detection)[] = [
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

/** Returns the detections of one scan. */
export function detectAll(snapshot: Snapshot): Detection[] {
  return detectors.map((detect) => detect(snapshot));
}
