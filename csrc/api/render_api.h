/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_RENDER_API_H
#define PS_RENDER_API_H

#define PS_FORMAT_STDOUT 0
#define PS_FORMAT_LOG 1

/* One part of --out-format and kin. letter 0: literal text. Else text is the escape as it was written, which stands for
 * itself where a letter has no meaning (as %a outside a daemon). */
typedef struct ps_format_op {
    int32_t letter, width; /* width: -1 none; padded to it */
    int32_t left, zero, human; /* padded on the right; with zeros (numbers); level of human-readable numbers */
    uint32_t text_off, text_len;
} ps_format_op;
/* Compiled by prsync/engine/formats.py; count 0: no such output. */
int ps_ctx_set_format(ps_ctx *c, int which, const ps_format_op *ops, uint32_t count, const uint8_t *text, size_t text_len);

/* Control characters in log text (log.c:filtered_fwrite). */
#define PS_ESCAPE_ASCII 0     /* to a terminal of no known character set */
#define PS_ESCAPE_UTF8 1      /* valid UTF-8 stays */
#define PS_ESCAPE_EIGHT_BIT 2 /* --8-bit-output, or another character set */
#define PS_ESCAPE_LOG 3       /* to a log file */
/* text: of a log record. Writes at most cap bytes; returns how many it takes (4 × n at most). */
size_t ps_escape(int mode, const uint8_t *text, size_t n, uint8_t *out, size_t cap);

/* lib/compat.c:do_big_num. human: 0 plain, 1 with commas, 2 units of 1000, 3 units of 1024. out: 40 bytes */
size_t ps_big_num(int64_t n, int human, char *out);

/* For tests: renders one entry that is not in a list. */
typedef struct ps_render_case {
    int64_t size, mtime, transfer_bytes, checksum_bytes;
    uint32_t mode, uid, gid, iflags;
    int32_t code;
} ps_render_case;
int ps_render_test(ps_ctx *c, const char *path, const char *link, const char *hard_link, const ps_render_case *t, uint32_t times);
int ps_render_delete(ps_ctx *c, const char *path, uint32_t mode);
#endif
