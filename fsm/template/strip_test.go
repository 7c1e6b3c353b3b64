package template

import (
	"errors"
	"strings"
	"testing"
)

// TestLongLineWithTrim gives a line on which each run would look at all others.
func TestLongLineWithTrim(t *testing.T) {
	_, err := Parse("t", strings.Repeat("x<#if b></#if>", 20_000)+"<#t>", Options{})
	var e *Error
	if !errors.As(err, &e) || e.Kind != Limit || e.Line != 1 {
		t.Errorf("got %v", err)
	}
	if _, err := Parse("t", strings.Repeat("x<#if b></#if>", 20_000), Options{}); err != nil {
		t.Errorf("without a trimming tag: %v", err)
	}
}

// TestOutlineOfMisfits gives files whose tags do not fit: nothing is stripped, and the parser says what is wrong.
func TestOutlineOfMisfits(t *testing.T) {
	for _, src := range []string{
		"<#if x>", "</#if>", "<#if x></#list>", "<@a>", "</@a>", "<#else>", "<#attempt>", "<#attempt></#attempt>", "<#attempt><#recover>",
		"<#switch x><#case 1>", "<#sep>", "<#list x as y><#sep>", "<#assign x>", "<#macro x>", "<#compress><#if x></#compress></#if>",
		strings.Repeat("<#if x>", 300), "<#recover>", "<#case 1>",
	} {
		var e *Error
		if _, err := Parse("t", "\n "+src+" \n", Options{}); !errors.As(err, &e) || e.Line == 0 {
			t.Errorf("%.30q: got %v", src, err)
		}
	}
}
