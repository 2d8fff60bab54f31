/** Classes of the bytes of a name; 0 is no `tchar` (RFC 9110 5.6.2). */
export const PLAIN = 1
/** Allowed in a name, but turned into another by CGI, WSGI and their like: `_`, `.` and the other signs. */
export const ODD = 2

export const NAME: Uint8Array = new Uint8Array(256)
/** 1 for bytes of a field value: visible, space, tab and `obs-text` (RFC 9110 5.5). */
export const VALUE: Uint8Array = new Uint8Array(256)
/** 1 for bytes of a request target: visible ASCII. */
export const TARGET: Uint8Array = new Uint8Array(256)
/** The value of a hexadecimal digit, or 255. */
export const HEX: Uint8Array = new Uint8Array(256).fill(255)

for (let byte = 0; byte < 256; byte += 1) {
  const character = String.fromCharCode(byte)
  if (/[0-9A-Za-z-]/.test(character)) NAME[byte] = PLAIN
  else if (/[!#$%&'*+.^_`|~]/.test(character)) NAME[byte] = ODD
  if ((byte >= 0x20 && byte !== 0x7f) || byte === 0x09) VALUE[byte] = 1
  if (byte > 0x20 && byte < 0x7f) TARGET[byte] = 1
  if (/[0-9A-Fa-f]/.test(character)) HEX[byte] = Number.parseInt(character, 16)
}
