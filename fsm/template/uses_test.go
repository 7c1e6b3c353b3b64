package template

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestUses(t *testing.T) {
	for src, want := range map[string]string{
		"plain text, no port":                                                                              "",
		"${port} ${_host.name}":                                                                            "_host port",
		"<#if a??>${b!c}<#elseif d><#else>${'x${e}'}</#if>":                                                "a b c d e",
		"<#list users as u>${u.name} ${u_index} ${port}<#sep>${s}</#list>":                                 "port s users",
		"<#list u as u>${u}</#list>${u}":                                                                   "u",
		"<#list m as k, v>${k}${v}</#list>":                                                                "m",
		"<#list xs><#items as x>${x}${y}</#items><#else>${z}</#list>":                                      "xs y z",
		"<#macro m a b=c rest...>${a}${b}${rest?size}${d}<#nested e></#macro><@m f; n>${n}</@m>":           "c d e f n",
		"<#function f x><#return x + y></#function>${f(z)}":                                                "y z",
		"<#assign x = y>${x}<#assign n++>":                                                                 "n x y",
		"<#assign x>${y}</#assign>":                                                                        "y",
		"<#switch a><#case b>${c}<#default>${d}</#switch>":                                                 "a b c d",
		"<#escape x as x?html + y>${z}</#escape>":                                                          "y z",
		"${xs?filter(x -> x.n > min)?size} ${(a..b)?join(c)} ${[d, e][f]} ${{'g': h}.g} ${i?string(j, k)}": "a b c d e f h i j k min xs",
		"<#attempt>${a}<#recover>${b}</#attempt><#compress>${c}</#compress><#setting number_format=n>":     "a b c n",
		"${.vars['a.b']} ${.data_model.c} ${.globals[d]}":                                                  "* a.b c d",
		"${.vars.port} ${.now} <#noparse>${no}</#noparse>":                                                 "port",
		"${t?eval}":                           "* t",
		"<#list .vars?keys as k>${k}</#list>": "*",
		"<#stop why>":                         "why",
	} {
		tmpl, err := Parse("t", src, Options{})
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		u := tmpl.Uses()
		got := slices.Sorted(maps.Keys(u.Names))
		if u.Any {
			got = append([]string{"*"}, got...)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: reads %v, want %s", src, got, want)
		}
	}
}

// What a template does not read cannot change its text.
func TestUsesLeaveNothingOut(t *testing.T) {
	fewer := 0
	for _, c := range loadCases(t) {
		data := string(c.Data)
		if data == "" {
			data = "{}"
		}
		tmpl, err := Parse("case", c.Template, c.options())
		if err != nil || strings.Contains(c.Template, ".now") {
			continue
		}
		v, err := DecodeJSON([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		u, less := tmpl.Uses(), NewObject()
		for _, k := range v.obj.keys {
			if u.Reads(k) {
				less.Set(k, v.obj.get(k))
			} else {
				fewer++
			}
		}
		for n := range u.Names {
			if !MayUse(c.Template, n) {
				t.Errorf("%s: MayUse denies %q", c.Name, n)
			}
		}
		all, errAll := tmpl.Render(context.Background(), v)
		some, errSome := tmpl.Render(context.Background(), less.Value())
		if all != some || (errAll == nil) != (errSome == nil) {
			t.Errorf("%s: %q %v; with what it reads only: %q %v", c.Name, all, errAll, some, errSome)
		}
	}
	if fewer == 0 {
		t.Errorf("every variable is read by the cases: this tells nothing")
	}
}
