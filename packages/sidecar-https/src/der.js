/** The few pieces of DER (ITU-T X.690) that a certificate is written with. */
export function der(tag, ...contents) {
  const content = Buffer.concat(contents)
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content])
}
function lengthOf(length) {
  if (length < 0x80) return Buffer.from([length])
  const bytes = []
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256)
  return Buffer.from([0x80 | bytes.length, ...bytes])
}
export const sequence = (...contents) => der(0x30, ...contents)
export const set = (...contents) => der(0x31, ...contents)
export const octets = (content) => der(0x04, content)
export const utf8 = (text) => der(0x0c, Buffer.from(text))
export const boolean = (value) => der(0x01, Buffer.from([value ? 0xff : 0]))
/** Context-specific and constructed, as in `[0] EXPLICIT`. */
export const explicit = (tag, content) => der(0xa0 | tag, content)
/** Context-specific and primitive, as in `[2] IMPLICIT IA5String`. */
export const implicit = (tag, content) => der(0x80 | tag, content)
/** `bytes` is the big-endian two's complement form. */
export const integer = (bytes) => der(0x02, bytes)
export const bits = (content, unused = 0) => der(0x03, Buffer.from([unused]), content)
/** From the dotted form, such as `2.5.4.3`. */
export function oid(dotted) {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}
function base128(value) {
  const digits = [value % 128]
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) {
    digits.unshift(0x80 | (rest % 128))
  }
  return digits
}
/** UTCTime until 2049 and GeneralizedTime after it, as RFC 5280 4.1.2.5 demands. */
export function time(date) {
  const digits = `${date.toISOString().replace(/[-:T]|\..*/g, '')}Z`
  return date.getUTCFullYear() < 2050
    ? der(0x17, Buffer.from(digits.slice(2)))
    : der(0x18, Buffer.from(digits))
}
