/** Passphrases that are easy to copy from a screen and hard to guess: syllables of equal chance, in groups to read aloud. */

const consonants = "bdfghjklmnprstvz";
const vowels = "aiou";
const groups = 4;
const syllablesPerGroup = 3;

/** Each syllable is one of 16 × 4. */
export const passphraseBits = groups * syllablesPerGroup * 6;

/** Like "bakodi-lemuno-…". `randomBytes` returns that many unpredictable bytes. */
export function createPassphrase(randomBytes: (count: number) => Uint8Array): string {
  const syllables = Array.from(
    randomBytes(groups * syllablesPerGroup),
    (byte) => consonants.charAt(byte & 15) + vowels.charAt((byte >> 4) & 3),
  );
  return Array.from({ length: groups }, (_, group) =>
    syllables.slice(group * syllablesPerGroup, (group + 1) * syllablesPerGroup).join(""),
  ).join("-");
}
