/**
 * Whether git can take a text as a field of a credential: each line is a field of its own there, so a line break would
 * smuggle in another.
 */
export const isOneLine = (text: string): boolean => !/[\0\r\n]/.test(text)
