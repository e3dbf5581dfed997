/* Control characters in what is shown and logged (log.c:filtered_fwrite, rwrite). */
#include "render/render_inner.h"

#include "api/render_api.h"

static size_t utf8_length(const u8 *s, size_t n) {
    u8 c = s[0];
    size_t len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (!len || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f)) return 0;
    return len;
}

static bool is_digit(u8 c) { return c >= '0' && c <= '9'; }

/* What would be read as an escape must be escaped itself. The line's end stands behind it in a record, as in rsync's buffer
 * it does not: five characters must be left. */
static bool looks_escaped(const u8 *s, size_t n) {
    return n >= 5 && s[0] == '\\' && s[1] == '#' && is_digit(s[2]) && is_digit(s[3]) && is_digit(s[4]);
}

/* Bytes at s that may be shown as they are; 0: the first one must be escaped. */
static size_t plain(int mode, const u8 *s, size_t n) {
    u8 c = s[0];
    if (c == '\t') return 1;
    if (c < ' ' || looks_escaped(s, n)) return 0;
    if (mode == PS_ESCAPE_UTF8) return utf8_length(s, n);
    if (mode == PS_ESCAPE_LOG) return c < 0x80 || c > 0x9f;
    return mode == PS_ESCAPE_EIGHT_BIT || c < 0x80; /* iconv lets DEL pass as ASCII */
}

static size_t put_octal(u8 c, u8 *out) {
    const u8 text[5] = {'\\', '#', (u8)('0' + (c >> 6)), (u8)('0' + (c >> 3 & 7)), (u8)('0' + (c & 7))};
    memcpy(out, text, 5);
    return 5;
}

size_t ps_escape(int mode, const uint8_t *text, size_t n, uint8_t *out, size_t cap) {
    size_t at = 0;
    for (size_t i = 0; i < n;) {
        u8 c = text[i], piece[8];
        size_t len = 1, used = 1;
        piece[0] = c;
        if (c == PS_LOG_MARK && i + 1 < n) { /* a line end within a message */
            len = put_octal(text[i + 1] == 'n' ? '\n' : '\r', piece);
            used = 2;
        } else if (c != '\n' && c != '\r') {
            used = plain(mode, text + i, n - i);
            if (used) {
                memcpy(piece, text + i, used);
                len = used;
            } else {
                len = put_octal(c, piece);
                used = 1;
            }
        }
        if (at + len <= cap) memcpy(out + at, piece, len);
        at += len;
        i += used;
    }
    return at;
}
