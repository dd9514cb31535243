/**
 * Ids that the detectors of layer 6 and the reports of the watchdog share.
 * @module
 */

/** Every detector, by its stable id. */
export const detectorIds = [
  'tracer',
  'stopped',
  'jail',
  'inspector',
  'sockets',
  'children',
  'memory',
  'capture',
  'tools',
  'clock',
  'mappings',
  'weights',
  'heartbeat',
] as const;
export type DetectorId = (typeof detectorIds)[number];

/**
 * How a finding relates to Kwyre's processes.
 *
 * `effect`: a process acts on one of ours, or one of ours does what it must not do. `able`: a known tool runs as a
 * user who could inspect our processes. `stranger`: a known tool runs as a user who could not.
 */
export const relations = ['effect', 'able', 'stranger'] as const;
export type Relation = (typeof relations)[number];

/**
 * How much a detector could see: `full`; `self-reported` by the watched process; `not-available` to this user, which
 * is not a fault; `unreadable` although it should be readable, which degrades the layer.
 */
export const visibilities = ['full', 'self-reported', 'not-available', 'unreadable'] as const;
export type Visibility = (typeof visibilities)[number];
