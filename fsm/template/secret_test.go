package template_test

import (
	"strings"
	"testing"

	"github.com/muster-hq/muster/fsm/template"
)

// TestErrorsShowNoValues: the text of a failed task is read by people who may not read secret settings.
func TestErrorsShowNoValues(t *testing.T) {
	const secret = "s3cr3tvalue"
	data, err := template.DecodeJSON([]byte(`{"pw":"s3cr3tvalue","o":{"s3cr3tvalue":1},"n":5,"l":["s3cr3tvalue"]}`))
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, src := range []string{
		"${pw?number}", "${pw?date}", "${pw?eval}", "${pw?boolean}", "${o[pw].x.y}", "${n[pw]}", "${pw.x}", "<#list pw as x></#list>", "${pw+1?date}",
		`${pw?datetime("yyyy")}`, "${pw?substring(50)}", "${pw[50]}", "${pw?matches(pw+'[')}", "${pw?replace('(','x','r')}", "${(pw)()}", "${5?string(pw)}",
		"<#if pw></#if>", "<#setting number_format=pw>${5.5}", "${pw*2}", "${pw<5}", "<#stop pw>", "${pw?interpret}", "${true?string(pw)}", "<@pw/>",
		"<#include pw>", "${o?keys?sort_by(pw)}", "${pw?time}", "<#setting locale=pw>", "${pw?iso(pw)}", "${o[pw]?date}", "${pw?date(pw)}",
		"${.data_model[pw].a.b}", "${o[pw+'x']}", "<#assign x=pw?eval>", `${('"'+pw)?eval}`, "${pw?left_pad(-1)}", "${'x'?matches(pw, pw)}", "${pw?sort_by('x')}",
		"${[1,2][pw]}", "${pw[1..99]}", "${1..pw}", "${pw==5}", "${-pw}", "${pw?then(1,2)}", "${pw?switch(1,2)}", "${pw?no_such}", "${o}", "${l}", "${l[0].x}",
		"${l?join(5, pw, pw, pw)}", "${pw?string('0.00')}", "<#local x=pw>", "<#list l as x>${x.y}</#list>", "${o[l[0]].z.y}", "${pw?api}", "${pw?new()}",
	} {
		tm, err := template.Parse("f", src, template.Options{})
		if err == nil {
			_, err = tm.Render(t.Context(), data)
		}
		if err == nil {
			continue
		}
		failed++
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", src, err)
		}
	}
	if failed < 40 {
		t.Errorf("only %d of the templates failed", failed)
	}
}
