/**
 * Writes the JSON of responses: completions, chunks of a stream, items, models and errors. The JSON of `/v1/responses`
 * is written by responses.ts.
 *
 * Promise: content is escaped from bytes to JSON bytes and never becomes a string. Everything else consists of
 *          constants, numbers, names and random ids. Each function appends to a {@link ByteWriter}, which the caller
 *          clears once the bytes have been sent.
 * Limits:  content must be valid UTF-8 (utf8.ts). In a stream, no character may be split across chunks.
 * Source:  https://platform.openai.com/docs/api-reference/chat/object, HTML 9.2 (server-sent events)
 * Proof:   test/unit/engine/response-json.test.ts
 * @module
 */
import { ByteWriter } from '../bytes/byte-writer.ts';
import type { Item } from '../session/transcript.ts';
import type { FinishReason, RequestError, Usage } from '../types.ts';

/** The fields at the beginning of a completion and of each of its chunks. */
export type CompletionHead = {
  /** `chatcmpl-` followed by random hexadecimal digits. */
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  readonly model: string;
};

/** A model as `GET /v1/models` returns it; `created` is a Unix time in seconds. */
type ModelEntry = { readonly id: string; readonly created: number };

function writeHead(out: ByteWriter, object: 'chat.completion' | 'chat.completion.chunk', head: CompletionHead): void {
  out
    .ascii('{"id":')
    .quoted(head.id)
    .ascii(`,"object":"${object}","created":${head.created},"model":`)
    .quoted(head.model)
    .ascii(',"system_fingerprint":null');
}

function writeUsageFields(out: ByteWriter, { promptTokens, completionTokens, cachedTokens }: Usage): void {
  out
    .ascii(`"usage":{"prompt_tokens":${promptTokens},"completion_tokens":${completionTokens}`)
    .ascii(`,"total_tokens":${promptTokens + completionTokens}`);
  if (cachedTokens !== undefined) out.ascii(`,"prompt_tokens_details":{"cached_tokens":${cachedTokens}}`);
  out.ascii('}');
}

/** A whole completion; `content` is valid UTF-8. */
type Completion = {
  readonly head: CompletionHead;
  readonly content: Uint8Array;
  readonly reason: FinishReason;
  readonly usage: Usage;
};

/** Writes a `chat.completion`. */
export function writeCompletion(out: ByteWriter, { head, content, reason, usage }: Completion): void {
  writeHead(out, 'chat.completion', head);
  out.ascii(',"choices":[{"index":0,"message":{"role":"assistant","content":"').escaped(content);
  out.ascii(`","refusal":null},"logprobs":null,"finish_reason":"${reason}"}],`);
  writeUsageFields(out, usage);
  out.ascii('}');
}

function beginChunk(out: ByteWriter, head: CompletionHead): void {
  out.ascii('data: ');
  writeHead(out, 'chat.completion.chunk', head);
  out.ascii(',"choices":[{"index":0,"delta":{');
}

/** Writes the end of a chunk. If usage was requested, every chunk except the last has a usage of `null`. */
function endChunk(out: ByteWriter, reason: FinishReason | null, includeUsage: boolean): void {
  out.ascii('},"logprobs":null,"finish_reason":');
  if (reason === null) out.ascii('null}]');
  else out.ascii('"').ascii(reason).ascii('"}]');
  out.ascii(includeUsage ? ',"usage":null}\n\n' : '}\n\n');
}

/** Writes the first chunk of a stream, which has the role but no content. */
export function writeRoleChunk(out: ByteWriter, head: CompletionHead, includeUsage: boolean): void {
  beginChunk(out, head);
  out.ascii('"role":"assistant","content":"","refusal":null');
  endChunk(out, null, includeUsage);
}

/**
 * Writes chunks of content. What all chunks of a stream have in common is encoded once, not for each token. It contains
 * the id of the response, so it is overwritten at the end.
 */
export class ContentChunks {
  readonly #chunk = new ByteWriter();
  /** Where the content goes. */
  readonly #at: number;

  constructor(head: CompletionHead, includeUsage: boolean) {
    beginChunk(this.#chunk, head);
    this.#chunk.ascii('"content":"');
    this.#at = this.#chunk.length;
    this.#chunk.ascii('"');
    endChunk(this.#chunk, null, includeUsage);
  }

  /** Writes a chunk. */
  write(out: ByteWriter, content: Uint8Array): void {
    const chunk = this.#chunk.view();
    out.bytes(chunk.subarray(0, this.#at)).escaped(content).bytes(chunk.subarray(this.#at));
  }

  [Symbol.dispose](): void {
    this.#chunk[Symbol.dispose]();
  }
}

/** Writes the chunk with the finish reason. */
export function writeFinishChunk(
  out: ByteWriter,
  head: CompletionHead,
  reason: FinishReason,
  includeUsage: boolean,
): void {
  beginChunk(out, head);
  endChunk(out, reason, includeUsage);
}

/** Writes the chunk with the usage and no choices, which is the last chunk if usage was requested. */
export function writeUsageChunk(out: ByteWriter, head: CompletionHead, usage: Usage): void {
  out.ascii('data: ');
  writeHead(out, 'chat.completion.chunk', head);
  out.ascii(',"choices":[],');
  writeUsageFields(out, usage);
  out.ascii('}\n\n');
}

/** Writes the end of a stream. */
export function writeDone(out: ByteWriter): void {
  out.ascii('data: [DONE]\n\n');
}

/** Writes an item of a conversation. */
export function writeItem(out: ByteWriter, { id, role, text }: Pick<Item, 'id' | 'role' | 'text'>): void {
  const isOutput = role === 'assistant';
  out
    .ascii(`{"id":"msg_${id}","type":"message","status":"completed","role":"${role}"`)
    .ascii(`,"content":[{"type":"${isOutput ? 'output_text' : 'input_text'}","text":"`)
    .escaped(text)
    .ascii(isOutput ? '","annotations":[],"logprobs":[]}]}' : '"}]}');
}

/** Writes the body of an error response. */
export function writeError(
  out: ByteWriter,
  error: Pick<RequestError, 'message' | 'type' | 'parameter' | 'publicCode'>,
): void {
  out.ascii('{"error":{"message":').quoted(error.message).ascii(',"type":').quoted(error.type).ascii(',"param":');
  if (error.parameter === null) out.ascii('null');
  else out.quoted(error.parameter);
  out.ascii(',"code":').quoted(error.publicCode).ascii('}}');
}

/** Writes an error as the last event of a stream. */
export function writeErrorEvent(
  out: ByteWriter,
  error: Pick<RequestError, 'message' | 'type' | 'parameter' | 'publicCode'>,
): void {
  out.ascii('data: ');
  writeError(out, error);
  out.ascii('\n\n');
}

export function writeModel(out: ByteWriter, model: ModelEntry): void {
  out.ascii('{"id":').quoted(model.id).ascii(`,"object":"model","created":${model.created},"owned_by":"kwyre"}`);
}

export function writeModels(out: ByteWriter, models: readonly ModelEntry[]): void {
  out.ascii('{"object":"list","data":[');
  models.forEach((model, i) => {
    if (i > 0) out.ascii(',');
    writeModel(out, model);
  });
  out.ascii(']}');
}
