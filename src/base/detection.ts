/**
 * Ids shared by layer 6's detectors and the watchdog's reports.
 * @module
 */

/** The stable id of every detector. */
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
 * `effect`: a process acts on one of Kwyre's processes, or one of Kwyre's processes does something forbidden. `able`: a
 * known tool runs as a user who can inspect Kwyre's processes. `stranger`: a known tool runs as a user who cannot.
 */
export const relations = ['effect', 'able', 'stranger'] as const;
export type Relation = (typeof relations)[number];

/**
 * How much a detector could see.
 *
 * `full`: everything. `self-reported`: only what the watched process reported about itself. `not-available`: not
 * everything, because this user lacks access to the rest, which is not a fault. `unreadable`: not everything, because
 * something that should be readable is not, which degrades the layer.
 */
export const visibilities = ['full', 'self-reported', 'not-available', 'unreadable'] as const;
export type Visibility = (typeof visibilities)[number];
