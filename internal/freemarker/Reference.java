import freemarker.core.ParseException;
import freemarker.core.TemplateClassResolver;
import freemarker.template.Configuration;
import freemarker.template.Template;
import freemarker.template.TemplateException;
import freemarker.template.TemplateExceptionHandler;
import freemarker.template.Version;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TimeZone;

/**
 * Answers frames on standard input with frames on standard output: a length of four bytes, then a body. The body of a
 * question is four bytes of rounds, one byte (1: the template is parsed in each round), four bytes with the template's
 * length, the template, and the data as JSON. With rounds 0 it is rendered once and the answer is 't' and the text, or
 * 'p' (parsing failed), 'r' (rendering failed) or 'x' (anything else), four bytes of line, and a message. With more
 * rounds the answer is 'n', eight bytes of nanoseconds of processor time for all of them, and the text of the last.
 */
public class Reference {
    public static void main(String[] args) throws Exception {
        freemarker.log.Logger.selectLoggerLibrary(freemarker.log.Logger.LIBRARY_NONE);
        DataInputStream in = new DataInputStream(System.in);
        DataOutputStream out = new DataOutputStream(new java.io.BufferedOutputStream(System.out, 1 << 16));
        Configuration config = config();
        for (;;) {
            byte[] body;
            try {
                body = new byte[in.readInt()];
                in.readFully(body);
            } catch (EOFException e) {
                return;
            }
            byte[] answer = answer(config, body);
            out.writeInt(answer.length);
            out.write(answer);
            out.flush();
        }
    }

    static Configuration config() throws Exception {
        Configuration c = new Configuration(new Version("2.3.0"));
        c.setLocale(new Locale("en", "US"));
        c.setNumberFormat("computer");
        c.setTimeZone(TimeZone.getTimeZone("UTC"));
        c.setDefaultEncoding("UTF-8");
        c.setOutputEncoding("UTF-8");
        c.setURLEscapingCharset("UTF-8");
        c.setTemplateExceptionHandler(TemplateExceptionHandler.RETHROW_HANDLER);
        c.setLogTemplateExceptions(false);
        c.setNewBuiltinClassResolver(TemplateClassResolver.ALLOWS_NOTHING_RESOLVER);
        c.setLocalizedLookup(false);
        return c;
    }

    static byte[] answer(Configuration config, byte[] body) throws Exception {
        DataInputStream in = new DataInputStream(new java.io.ByteArrayInputStream(body));
        int rounds = in.readInt();
        boolean parse = in.readByte() == 1;
        byte[] raw = new byte[in.readInt()];
        in.readFully(raw);
        String text = new String(raw, StandardCharsets.UTF_8);
        Object data = new Json(new String(in.readAllBytes(), StandardCharsets.UTF_8)).value();
        try {
            if (rounds == 0) {
                return bytes('t', -1, render(new Template("t", null, new StringReader(text), config, "UTF-8"), data));
            }
            Template t = new Template("t", null, new StringReader(text), config, "UTF-8");
            String result = "";
            long began = cpu();
            for (int i = 0; i < rounds; i++) {
                if (parse) t = new Template("t", null, new StringReader(text), config, "UTF-8");
                result = render(t, data);
            }
            return bytes('n', cpu() - began, result);
        } catch (ParseException e) {
            return bytes('p', e.getLineNumber(), e.getEditorMessage());
        } catch (TemplateException e) {
            Integer line = e.getLineNumber();
            return bytes('r', line == null ? 0 : line, e.getMessageWithoutStackTop());
        } catch (Throwable e) {
            return bytes('x', 0, e.toString());
        }
    }

    /** Processor time of this thread, in nanoseconds: other programs and the compiler's threads do not count. */
    static long cpu() { return java.lang.management.ManagementFactory.getThreadMXBean().getCurrentThreadCpuTime(); }

    static String render(Template t, Object data) throws Exception {
        StringWriter w = new StringWriter();
        t.process(data, w);
        return w.toString();
    }

    static byte[] bytes(char kind, long number, String text) throws Exception {
        java.io.ByteArrayOutputStream all = new java.io.ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(all);
        out.writeByte(kind);
        if (kind == 'n') out.writeLong(number);
        else if (kind != 't') out.writeInt((int) number);
        out.write(String.valueOf(text).getBytes(StandardCharsets.UTF_8));
        return all.toByteArray();
    }

    /** Reads JSON that is known to be valid. Objects keep their order; numbers are integers or exact decimals. */
    static class Json {
        final String s;
        int i;

        Json(String s) { this.s = s; }

        void blanks() { while (i < s.length() && s.charAt(i) <= ' ') i++; }

        Object value() {
            blanks();
            switch (s.charAt(i)) {
                case '{': return object();
                case '[': return list();
                case '"': return string();
                case 't': i += 4; return true;
                case 'f': i += 5; return false;
                case 'n': i += 4; return null;
                default: return number();
            }
        }

        Map<String, Object> object() {
            Map<String, Object> m = new LinkedHashMap<>();
            i++;
            for (;;) {
                blanks();
                if (s.charAt(i) == '}') { i++; return m; }
                if (s.charAt(i) == ',') { i++; continue; }
                String key = string();
                blanks();
                i++;
                m.put(key, value());
            }
        }

        List<Object> list() {
            List<Object> l = new ArrayList<>();
            i++;
            for (;;) {
                blanks();
                if (s.charAt(i) == ']') { i++; return l; }
                if (s.charAt(i) == ',') { i++; continue; }
                l.add(value());
            }
        }

        Object number() {
            int from = i;
            while (i < s.length() && "+-0123456789.eE".indexOf(s.charAt(i)) >= 0) i++;
            String t = s.substring(from, i);
            if (!t.matches("-?\\d+")) return new BigDecimal(t);
            BigInteger n = new BigInteger(t);
            if (n.bitLength() < 32) return n.intValue();
            return n.bitLength() < 64 ? (Object) n.longValue() : n;
        }

        String string() {
            StringBuilder b = new StringBuilder();
            i++;
            for (char c = s.charAt(i++); c != '"'; c = s.charAt(i++)) {
                if (c != '\\') { b.append(c); continue; }
                c = s.charAt(i++);
                switch (c) {
                    case 'n': b.append('\n'); break;
                    case 't': b.append('\t'); break;
                    case 'r': b.append('\r'); break;
                    case 'b': b.append('\b'); break;
                    case 'f': b.append('\f'); break;
                    case 'u': b.append((char) Integer.parseInt(s.substring(i, i + 4), 16)); i += 4; break;
                    default: b.append(c);
                }
            }
            return b.toString();
        }
    }
}
