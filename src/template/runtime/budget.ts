/**
 * What a render may cost: steps, time, and the length of a text, and how many values.
 *
 * Promise: whoever touches bytes pays for each of them first, so that the work is in proportion to the steps; one step
 *          stands for at most 64 bytes looked at or 16 bytes made. What
 *          binds or copies arguments pays for each of them first. The clock bounds what the prices have wrong.
 * Trust:   the clock is an argument; the engine gives the processor time of its own thread, which a busy machine does
 *          not make longer.
 * Proof:   test/unit/template/costs.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';

/** A render that cannot go on; its message is made of constants. */
export class TemplateError extends KwyreError {
  /** The field of a request that it is about, if one is. */
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

/** The template does something that Python refuses, or that this server does not do. @param what - made of constants */
export function unsupported(what: string): TemplateError {
  return new TemplateError('TEMPLATE_UNSUPPORTED', `the model's chat template ${what}, which this server does not do`);
}

/** Milliseconds that passed, for the bound on time. */
export type Clock = () => number;

/** The clock is looked at after so many steps: a few milliseconds of work. */
const stepsPerLook = 4096;

/** Of what a render makes and a template can keep: a few hundred MiB at most, in units of about 64 bytes. */
const maxHeld = 1 << 22;

/** Counts what a render costs, so that no template runs for long or grows without end. */
export class Budget {
  #steps: number;
  #untilLook = stepsPerLook;
  #held = 0;
  readonly #clock: Clock;
  readonly #deadline: number;
  readonly maxBytes: number;

  /** @param maxBytes - of one text; @param ms - by the clock. */
  constructor(steps: number, maxBytes: number, clock: Clock = () => 0, ms = Number.POSITIVE_INFINITY) {
    this.#steps = steps;
    this.maxBytes = maxBytes;
    this.#clock = clock;
    this.#deadline = clock() + ms;
  }

  /** Steps that are left. */
  get left(): number {
    return this.#steps;
  }

  /** @throws `TEMPLATE_LIMIT` when the render has cost too much. */
  spend(steps: number): void {
    this.#steps -= steps;
    this.#untilLook -= steps;
    if (this.#steps < 0) throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template takes too many steps");
    if (this.#untilLook > 0) return;
    this.#untilLook = stepsPerLook;
    if (this.#clock() > this.#deadline)
      throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template takes too long");
  }

  /**
   * Pays for values that a template can keep, in units of about 64 bytes; they count until the render ends.
   * @throws `TEMPLATE_LIMIT`
   */
  hold(units: number): void {
    this.#held += units;
    if (this.#held > maxHeld)
      throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template makes too many values");
    this.spend(units);
  }

  #pay(count: number, shift: number): void {
    if (count > this.maxBytes)
      throw new TemplateError('TEMPLATE_LIMIT', "the model's chat template makes too long a text");
    this.spend(1 + Math.floor(count / shift));
  }

  /**
   * Pays for looking at so many bytes, all at once by native code. @throws `TEMPLATE_LIMIT` when they are more than any
   * prompt may have.
   */
  bytes(count: number): void {
    this.#pay(count, 64);
  }

  /** Pays for looking at so many bytes one by one, or for making them. @throws `TEMPLATE_LIMIT` */
  each(count: number): void {
    this.#pay(count, 16);
  }
}
