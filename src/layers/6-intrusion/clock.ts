/**
 * Time that went by without us: stopped by a signal, a frozen control group, a starved event loop.
 *
 * A suspended machine is told apart: CLOCK_MONOTONIC stands still with it, CLOCK_BOOTTIME does not (L6-23).
 *
 * Limits:  a paused virtual machine may look like a stop; that is one detection, which the next clean scans undo.
 * Source:  clock_gettime(2)
 * Proof:   test/unit/layers/6-detectors.test.ts
 * @module
 */
import type { Detection } from './finding.ts';
import { clear } from './finding.ts';
import type { Clocks } from './snapshot.ts';

/** Lateness that a busy machine explains by itself. */
export const slackMs = 4000;
/** A difference of the two clocks that is a suspension and not their resolution. */
const suspensionMs = 500;

/** What happened between two looks at the clocks that were meant to be `intervalMs` apart. */
export function judgeGap(before: Clocks, now: Clocks, intervalMs: number): { readonly lateMs: number; readonly suspended: boolean; readonly stopped: boolean } {
  const passed = now.monotonic - before.monotonic;
  const suspended = now.boot - before.boot - passed > suspensionMs;
  const lateMs = Math.max(0, Math.round(passed - intervalMs));
  return { lateMs, suspended, stopped: lateMs > slackMs && !suspended };
}

/** A gap between this scan and the one before it. */
export function detectGap(before: Clocks | undefined, now: Clocks, intervalMs: number, whose: { readonly role: string; readonly pid: number; readonly uid: number }): Detection {
  const gap = before === undefined ? undefined : judgeGap(before, now, intervalMs);
  return {
    detector: 'clock',
    ...clear,
    findings: gap?.stopped === true ? [{ detector: 'clock', relation: 'effect', pid: whose.pid, uid: whose.uid, name: `kwyre ${whose.role}`, what: `the ${whose.role} stood still for ${Math.round(gap.lateMs / 1000)} s` }] : [],
  };
}
