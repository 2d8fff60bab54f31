import fc from 'fast-check'

/** Any bytes, as text of one character a byte. */
export const bytes = (maxLength: number, minLength = 0) =>
  fc.string({ unit: fc.nat(255).map((byte) => String.fromCharCode(byte)), minLength, maxLength })

/** Where a stream of at most `most` bytes is cut. */
export const cuts = (most: number) => fc.array(fc.nat(most), { maxLength: 12 })

/** The ends of the pieces into which a text is cut, the last of which is its own. */
export function ends(length: number, cuts: readonly number[]): number[] {
  return [...new Set([...cuts.filter((cut) => cut > 0 && cut < length), length])].sort((a, b) => a - b)
}

/** After every byte. */
export const everywhere = (text: string): number[] => Array.from(text, (_, index) => index)

const MEANINGFUL = [...'\r\n\0 $*0129-+:;.?|>%~#,(=!_\'"\\x']

/** What makes of a text one that differs in a few places, mostly by bytes that mean something. */
export const changes = fc.array(
  fc.tuple(fc.nat(10_000), fc.oneof(fc.constantFrom(...MEANINGFUL), bytes(1, 1)), fc.nat(2)),
  { minLength: 1, maxLength: 3 },
)

export function changed(text: string, edits: readonly (readonly [number, string, number])[]): string {
  let result = text
  for (const [at, byte, kind] of edits) {
    const place = at % (result.length + 1)
    // Taken away, replaced, or added.
    result = result.slice(0, place) + (kind === 0 ? '' : byte) + result.slice(place + (kind === 2 ? 0 : 1))
  }
  return result
}

/** A reply as it comes, its type, and what it says in plain values. */
export interface SomeReply {
  readonly text: string
  readonly type: string
  readonly value: unknown
}

const line = fc.string({
  unit: fc
    .nat(255)
    .filter((byte) => byte !== 13 && byte !== 10)
    .map((byte) => String.fromCharCode(byte)),
  maxLength: 20,
})
const scalar = (type: string, text: string, value: unknown): SomeReply => ({
  text: `${type}${text}\r\n`,
  type,
  value,
})
const bulk = (type: string, text: string, value: unknown) => scalar(type, `${text.length}\r\n${text}`, value)

const leaf: fc.Arbitrary<SomeReply> = fc.oneof(
  line.map((text) => scalar('+', text, text)),
  line.map((text) => scalar('-', text, { error: text })),
  fc
    .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    .map((value) => scalar(':', String(value), plainInteger(value))),
  fc.integer().map((value) => scalar(':', String(value), value)),
  bytes(40).map((text) => bulk('$', text, text)),
  fc.array(bytes(10, 1), { maxLength: 3 }).map((pieces) => ({
    text: `$?\r\n${pieces.map((piece) => `;${piece.length}\r\n${piece}\r\n`).join('')};0\r\n`,
    type: '$',
    value: pieces.join(''),
  })),
  fc.constantFrom(scalar('$', '-1', null), scalar('*', '-1', null), scalar('_', '', null)),
  fc.boolean().map((value) => scalar('#', value ? 't' : 'f', value)),
  fc.double().map((value) =>
    scalar(',', String(value).replace('Infinity', 'inf').replace('NaN', 'nan'), {
      // The sign of a zero is not said.
      double: value === 0 ? 0 : value,
    }),
  ),
  fc.bigInt().map((value) => scalar('(', String(value), { big: value })),
  bytes(20).map((text) => bulk('!', text, { error: text })),
  bytes(20).map((text) => bulk('=', `txt:${text}`, { txt: text })),
)

const plainInteger = (value: bigint) => (Number.isSafeInteger(Number(value)) ? Number(value) : value)

function aggregate(
  type: string,
  width: number,
  streamable: boolean,
  parts: readonly SomeReply[],
  streamed: boolean,
): SomeReply {
  const all = parts.slice(0, parts.length - (parts.length % width))
  const body = all.map(({ text }) => text).join('')
  const open = streamed && streamable
  return {
    text: open ? `${type}?\r\n${body}.\r\n` : `${type}${all.length / width}\r\n${body}`,
    type,
    value: { [type]: all.map(({ value }) => value) },
  }
}

/** Any reply of RESP2 and RESP3, with attributes and streamed parts. */
export const { reply } = fc.letrec<{ reply: SomeReply; element: SomeReply; bare: SomeReply }>((tie) => ({
  bare: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc
      .tuple(fc.constantFrom('*', '~', '%', '>'), fc.array(tie('element'), { maxLength: 5 }), fc.boolean())
      .map(([type, parts, streamed]) => aggregate(type, type === '%' ? 2 : 1, type !== '>', parts, streamed)),
  ),
  element: fc.oneof({ weight: 8, arbitrary: tie('bare') }, { weight: 1, arbitrary: attributed(tie('bare')) }),
  reply: tie('element'),
}))

function attributed(of: fc.Arbitrary<SomeReply>): fc.Arbitrary<SomeReply> {
  return fc.tuple(of, fc.array(leaf, { maxLength: 4 })).map(([{ text, type, value }, parts]) => {
    const attributes = aggregate('|', 2, false, parts, false)
    return { text: attributes.text + text, type, value: { attributes: attributes.value, of: value } }
  })
}
