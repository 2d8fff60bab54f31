/** The few pieces of DER (ITU-T X.690) that a certificate is written with. */
export declare function der(tag: number, ...contents: readonly Uint8Array[]): Buffer
export declare const sequence: (...contents: readonly Uint8Array[]) => Buffer
export declare const set: (...contents: readonly Uint8Array[]) => Buffer
export declare const octets: (content: Uint8Array) => Buffer
export declare const utf8: (text: string) => Buffer
export declare const boolean: (value: boolean) => Buffer
/** Context-specific and constructed, as in `[0] EXPLICIT`. */
export declare const explicit: (tag: number, content: Uint8Array) => Buffer
/** Context-specific and primitive, as in `[2] IMPLICIT IA5String`. */
export declare const implicit: (tag: number, content: Uint8Array) => Buffer
/** `bytes` is the big-endian two's complement form. */
export declare const integer: (bytes: Uint8Array) => Buffer
export declare const bits: (content: Uint8Array, unused?: number) => Buffer
/** From the dotted form, such as `2.5.4.3`. */
export declare function oid(dotted: string): Buffer
/** UTCTime until 2049 and GeneralizedTime after it, as RFC 5280 4.1.2.5 demands. */
export declare function time(date: Date): Buffer
