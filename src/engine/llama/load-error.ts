/**
 * Explains why llama.cpp could not load a model, with an error that includes a next step.
 *
 * Limits: the reason is recognised by llama.cpp's log lines, which differ between versions. Any other failure is
 *         reported as `ENGINE_MODEL_REFUSED`.
 * Source: `src/llama-model-loader.cpp`, `src/llama-vocab.cpp` of llama.cpp v0.5.0
 * Proof:  test/e2e/engine-models.test.ts
 * @module
 */
import { KwyreError } from '../../base/errors.ts';

/** Returns the error that corresponds to llama.cpp's log from loading the model `name`. */
export function loadError(name: string, log: string): KwyreError {
  if (/unknown model architecture/.test(log))
    return new KwyreError(
      'ENGINE_ARCHITECTURE_UNKNOWN',
      `llama.cpp does not support the architecture of the model ${name}`,
      'use a model whose architecture llama.cpp v0.5.0 supports, or update Kwyre',
    );
  if (/failed to allocate|unable to allocate|bad_alloc|failed to fit/.test(log))
    return new KwyreError(
      'ENGINE_MEMORY',
      `there is not enough memory for the weights of the model ${name}`,
      'use a smaller model or a smaller quantisation of it',
    );
  if (/unknown (pre-)?tokenizer/.test(log))
    return new KwyreError(
      'ENGINE_TOKENIZER_UNKNOWN',
      `llama.cpp does not support the tokenizer of the model ${name}`,
      'use another conversion of the model, or update Kwyre',
    );
  if (
    /tensor .* not found|missing tensor|wrong shape|wrong number of tensors/.test(log) ||
    /key not found in model|error loading model vocabulary/.test(log)
  )
    return new KwyreError(
      'ENGINE_MODEL_INCOMPLETE',
      `the model ${name} lacks tensors or vocabulary entries, or they differ from its header`,
      'download the file again and compare its digest',
    );
  return new KwyreError(
    'ENGINE_MODEL_REFUSED',
    `llama.cpp cannot load the model ${name}`,
    'use another GGUF file, or another conversion of the model',
  );
}
