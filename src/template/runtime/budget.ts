/**
 * Limits the cost of a render: steps, processor time, the length of a text, and the number of values.
 *
 * Promise: steps are charged before bytes are touched, arguments are bound or values are copied, so the work done is
 *          proportional to the steps charged. One step covers at most 64 bytes scanned by native code, or 16 bytes
 *          processed one by one. The time limit covers the cases in which these costs are underestimated.
 * Trust:   the clock is an argument. The engine passes its own thread's processor time, so a render does not
 *          get less time on a busy machine.
 * Proof:   test/unit/template/costs.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';

/** The error for a render that cannot continue. Its message consists of constants. */
export class TemplateError extends KwyreError {
  /** The request field that caused the error, if any. */
  readonly parameter: string | null;

  constructor(
    code: 'TEMPLATE_LIMIT' | 'TEMPLATE_UNSUPPORTED' | 'REQUEST_TEMPLATE_REFUSED',
    message: string,
    parameter: string | null = null,
  ) {
    super(code, message, 'use another build of this model');
    this.parameter = parameter;
  }
}

/**
 * Returns the error for a template that does something Python's Jinja refuses or this server does not implement.
 * @param what - a verb phrase that consists of constants, such as `divides by zero`
 */
export function unsupported(what: string): TemplateError {
  return new TemplateError('TEMPLATE_UNSUPPORTED', `the model's chat template ${what}; this is not supported`);
}

/** Returns the error for a template that is nested too deeply. */
export function nestedTooDeep(): TemplateError {
  return new TemplateError('TEMPLATE_LIMIT', "the model's chat template is nested too deeply");
}

/** Returns elapsed milliseconds. */
export type Clock = () => number;

/** Number of steps between two readings of the clock. This many steps take a few milliseconds. */
const stepsPerClockRead = 4096;

/** Limit on values that a template can keep, in units of about 64 bytes: a few hundred MiB. */
const maxRetained = 1 << 22;

/** Counts the cost of a render and stops it at the limits. */
export class Budget {
  #steps: number;
  #untilClockRead = stepsPerClockRead;
  #retained = 0;
  readonly #clock: Clock;
  readonly #deadline: number;
  readonly #maxBytes: number;

  /**
   * @param maxBytes - the longest text that the render may create or read
   * @param ms - time limit, measured by `clock`
   */
  constructor(steps: number, maxBytes: number, clock: Clock = () => 0, ms = Number.POSITIVE_INFINITY) {
    this.#steps = steps;
    this.#maxBytes = maxBytes;
    this.#clock = clock;
    this.#deadline = clock() + ms;
  }

  /** Number of remaining steps. */
  get remaining(): number {
    return this.#steps;
  }

  /** @throws `TEMPLATE_LIMIT` if no steps or no time remain. */
  spend(steps: number): void {
    this.#steps -= steps;
    this.#untilClockRead -= steps;
    if (this.#steps < 0) throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template takes too many steps");
    if (this.#untilClockRead > 0) return;
    this.#untilClockRead = stepsPerClockRead;
    if (this.#clock() > this.#deadline)
      throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template takes too long");
  }

  /**
   * Charges for values that a template can keep. They count until the render ends.
   * @param units - number of units of about 64 bytes
   * @throws `TEMPLATE_LIMIT`
   */
  retain(units: number): void {
    this.#retained += units;
    if (this.#retained > maxRetained)
      throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template creates too many values");
    this.spend(units);
  }

  #pay(count: number, bytesPerStep: number): void {
    if (count > this.#maxBytes)
      throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template creates a text that is too long");
    this.spend(1 + Math.floor(count / bytesPerStep));
  }

  /** Charges for bytes that native code scans. @throws `TEMPLATE_LIMIT` */
  scan(count: number): void {
    this.#pay(count, 64);
  }

  /** Charges for bytes that are created or are read one by one. @throws `TEMPLATE_LIMIT` */
  walk(count: number): void {
    this.#pay(count, 16);
  }
}
